"""A worker as the supervisor sees it: a life in phases, and slots that hold predictions.

    loading ──loaded──▶ setting up ──ready──▶ ready ──▶ stopping
       └──────────┴──── broken ────┴───────────┴───────────┴──▶ ended

A slot is free again only when the worker has said that its prediction completed, or when the worker has ended: never because
somebody lost patience. A prediction that does not obey its cancelation is answered as canceled after a grace, and its worker is
ended as soon as no other prediction needs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Protocol

import msgspec

from drivetrain.model.prediction import (
    Completed,
    Failure,
    Log,
    Metric,
    Output,
    OutputFile,
    OutputValue,
    Started,
    Status,
)
from drivetrain.model.signature import Signature
from drivetrain.serving.frames import (
    Broken,
    Cancel,
    CheckHealth,
    HealthReport,
    Hello,
    Imported,
    Load,
    Loaded,
    LogText,
    MetricValue,
    OutputItem,
    Predict,
    PredictionCompleted,
    PredictTogether,
    Ready,
    SetUp,
    Stop,
    WireFailure,
    WireOutput,
    WorkerFrame,
)
from drivetrain.serving.launch import LaunchedWorker
from drivetrain.serving.process import WorkerProcess
from drivetrain.serving.run import Run, now


class Phase(Enum):
    """Where a worker is in its life."""

    LOADING = "loading"
    SETTING_UP = "setting up"
    READY = "ready"
    STOPPING = "stopping"
    ENDED = "ended"


class WorkerOwner(Protocol):
    """Who a worker reports to. Called in the event loop."""

    def worker_loaded(self, worker: Worker, signature: Signature, *, batches: bool) -> None:
        """The author's module is imported; ``set_up`` is due. ``batches``: it can run predictions together."""

    def worker_ready(self, worker: Worker) -> None:
        """Set-up has succeeded; slots are free."""

    def worker_imported(self, worker: Worker, report: Imported) -> None:
        """A worker that was told to record what it imports has done so."""

    def worker_broken(self, worker: Worker, stage: str, failure: WireFailure) -> None:
        """Loading or set-up has failed; the worker is about to end."""

    def slot_released(self, worker: Worker) -> None:
        """A prediction has left its slot."""

    def log_strayed(self, worker: Worker, log: Log) -> None:
        """The worker wrote something that belongs to no single prediction: during set-up, between or beside them."""

    def worker_ended(self, worker: Worker, ending: str) -> None:
        """The process is gone. Its predictions have been failed."""


class WorkerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker and its predictions may take; ``None`` is as much as they like.

    Attributes:
        cancel_grace: How long a prediction may take to obey its cancelation.
        prediction_timeout: How long a prediction may run.
        predictions: How many predictions the worker may run in its life.
    """

    cancel_grace: timedelta
    prediction_timeout: timedelta | None = None
    predictions: int | None = None


class Worker:
    """Owns the slots of one worker process.

    Args:
        number: Its place among the model's workers; a successor takes the same.
        launched: The process just started.
        load: What it must load.
        owner: Told what happens.
        limits: What it may take.
    """

    def __init__(self, number: int, launched: LaunchedWorker, load: Load, owner: WorkerOwner, limits: WorkerLimits) -> None:
        self.number = number
        self.phase = Phase.LOADING
        self.was_ready = False
        self.was_useful = False
        self.was_told_to_stop = False
        self.concurrency = 1
        self._runs: dict[str, Run] = {}
        self._owner = owner
        self._limits = limits
        self._started = 0
        self._is_doomed = False
        self._was_killed = False
        self._are_together = False
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._checks_health = False
        self._health: asyncio.Future[HealthReport] | None = None
        self._loop = asyncio.get_running_loop()
        self._process = WorkerProcess(launched, self, self._loop)
        if not launched.is_loading:
            self._process.send(load)

    @property
    def free_slots(self) -> int:
        """How many more predictions it can take now."""
        if self.phase is not Phase.READY or self._is_doomed or self.has_served_its_time:
            return 0
        return self.concurrency - len(self._runs)

    @property
    def has_served_its_time(self) -> bool:
        """Whether it has started as many predictions as a worker may run."""
        return self._limits.predictions is not None and self._started >= self._limits.predictions

    @property
    def ended(self) -> asyncio.Future[None]:
        """Done when the process is gone and has been reported."""
        return self._process.ended

    def set_up(self, concurrency: int) -> None:
        """Let a loaded worker create and set up the model."""
        self.phase = Phase.SETTING_UP
        self.concurrency = concurrency
        self._process.send(SetUp(concurrency=concurrency))

    def start(self, runs: Sequence[Run]) -> None:
        """Put predictions into free slots; several are run together, with one call of the author's code."""
        assert len(runs) <= self.free_slots
        frames = [_predict(run) for run in runs]
        # One that has nothing to do begins at once; others get what comes in one turn together.
        self._process.send(frames[0] if len(frames) == 1 else PredictTogether(predictions=frames), at_once=not self._runs)
        self._started += len(runs)
        self._are_together = len(runs) > 1
        for run in runs:  # the worker has them, whatever becomes of the telling
            self._runs[run.id] = run
        for run in runs:
            run.deliver(Started(at=now()))
            if self._limits.prediction_timeout is not None:
                seconds = self._limits.prediction_timeout.total_seconds()
                self._timers[run.id] = self._loop.call_later(seconds, self._time_out, run)

    def cancel(self, run: Run) -> None:
        """Ask the code of a prediction in one of the slots to stop, and see to it that it does.

        Of predictions that run together one cannot be stopped: its result is dropped. The last one stops the call.
        """
        if run.id not in self._runs:
            return
        if self._are_together and any(other is not run for other in self._live_runs()):
            run.complete(Status.CANCELED)
            return
        self._process.send(Cancel(id=run.id))
        self._loop.call_later(self._limits.cancel_grace.total_seconds(), self._give_up_on, run)

    def holds(self, run: Run) -> bool:
        """Whether the prediction is in one of the slots."""
        return run.id in self._runs

    def stop(self) -> None:
        """Let the process end by itself once it is idle."""
        self.was_told_to_stop = True
        if self.phase is not Phase.ENDED:
            self.phase = Phase.STOPPING
            self._process.send(Stop())

    def kill(self) -> None:
        """End the process now."""
        self._was_killed = True
        self._process.kill()

    async def check_health(self) -> HealthReport:
        """Run the author's health check; calls made meanwhile share one answer. A model without one is healthy."""
        if not self._checks_health:
            return HealthReport(healthy=True)
        if self._health is None:
            self._health = self._loop.create_future()
            self._process.send(CheckHealth())
        return await asyncio.shield(self._health)

    def frame_received(self, frame: WorkerFrame) -> None:
        """Implements ``ProcessListener``."""
        match frame:
            case PredictionCompleted():
                self._complete(frame)
            case OutputItem():
                self._apply(frame.id, Output(output=_output(frame.output)))
            case LogText():
                self._apply(frame.id, Log(source=frame.source, data=frame.data))
            case MetricValue():
                self._apply(frame.id, Metric(name=frame.name, value=frame.value, mode=frame.mode))
            case Loaded() | Ready() | Broken() if self.was_told_to_stop:
                pass  # sent before it knew; what it tells is about code that is no longer wanted
            case Loaded():
                self._owner.worker_loaded(self, Signature.from_wire(frame.signature), batches=frame.batches)
            case Ready():
                self.phase = Phase.READY
                self.was_ready = True
                self._checks_health = frame.checks_health
                self._owner.worker_ready(self)
            case Broken():
                self._owner.worker_broken(self, frame.stage, frame.failure)
            case HealthReport():
                self._report_health(frame)
            case Imported():
                self._owner.worker_imported(self, frame)
            case Hello():
                pass

    def log_received(self, log: Log) -> None:
        """Implements ``ProcessListener``."""
        if self._runs and (len(self._runs) == 1 or self._are_together):  # what a batch writes is about all of it
            for run in self._runs.values():
                run.deliver(log)
        else:
            self._owner.log_strayed(self, log)

    def process_ended(self, ending: str) -> None:
        """Implements ``ProcessListener``."""
        self.phase = Phase.ENDED
        runs = list(self._runs.values())
        self._runs.clear()
        for timer in self._timers.values():
            timer.cancel()
        for run in runs:
            if run.cancel_requested:
                run.complete(Status.CANCELED)
            elif self.was_told_to_stop or self._was_killed:
                run.fail("The model server ended its worker before this prediction had ended.", worker_lost=True)
            else:
                run.fail(_crash_message(ending), worker_lost=True)
        if self._health is not None:
            self._health.set_result(HealthReport(healthy=False, message=f"the worker {ending}"))
            self._health = None
        self._owner.worker_ended(self, ending)

    def _apply(self, run_id: str, event: Output | Log | Metric) -> None:
        if run := self._runs.get(run_id):
            run.deliver(event)

    def _complete(self, frame: PredictionCompleted) -> None:
        run = self._runs.pop(frame.id, None)
        if run is None:
            return
        self.was_useful = True
        if (timer := self._timers.pop(run.id, None)) is not None:
            timer.cancel()
        if frame.output is not None:
            run.deliver(Output(output=_output(frame.output)))
        run.deliver(Completed(status=frame.status, at=now(), failure=_failure(frame.failure)))
        if self._is_doomed and not self._live_runs():
            self.kill()
        elif self.has_served_its_time and not self._runs:
            self.stop()
        self._owner.slot_released(self)

    def _time_out(self, run: Run) -> None:
        if self._runs.get(run.id) is run and not run.is_finished:
            assert self._limits.prediction_timeout is not None
            seconds = self._limits.prediction_timeout.total_seconds()
            run.fail(f"The prediction took longer than the {seconds:g} seconds it may take and was stopped.")
            self.cancel(run)

    def _give_up_on(self, run: Run) -> None:
        if self._runs.get(run.id) is not run:
            return
        run.complete(Status.CANCELED)
        self._is_doomed = True
        if not self._live_runs():
            self.kill()

    def _live_runs(self) -> list[Run]:
        return [run for run in self._runs.values() if not run.is_finished]

    def _report_health(self, report: HealthReport) -> None:
        if self._health is not None:
            self._health.set_result(report)
            self._health = None


def _predict(run: Run) -> Predict:
    return Predict(
        id=run.id,
        input=run.inputs,
        directory=run.output_directory,
        context=dict(run.prediction.context),
        fetched=run.fetched,
    )


def _output(wire: WireOutput) -> OutputValue:
    if not wire.files:
        return OutputValue(value=wire.value)
    return OutputValue(
        value=wire.value,
        files=tuple(OutputFile(pointer=tuple(file.pointer), path=Path(file.path), name=file.name) for file in wire.files),
    )


def _failure(wire: WireFailure | None) -> Failure | None:
    return None if wire is None else Failure(message=wire.message, traceback=wire.traceback)


def _crash_message(ending: str) -> str:
    reason = " (often a sign that memory ran out)" if ending.endswith("SIGKILL") else ""
    return f"The worker {ending} while it ran this prediction{reason}."
