"""Keep the workers of one model alive, and give their slots to predictions in the order they came.

What is known of the model as a whole (is it set up, did set-up fail, can it serve again after a crash) lives here; what is known of
one process lives in ``worker``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol

import msgspec
from msgspec.structs import replace

from drivetrain.model.errors import BadRequest, DrivetrainError
from drivetrain.model.prediction import Failure, Log, Source, Status
from drivetrain.model.project import BatchPolicy
from drivetrain.model.signature import Signature
from drivetrain.serving import batching
from drivetrain.serving.devices import visible_device
from drivetrain.serving.frames import HealthReport, Imported, WireFailure
from drivetrain.serving.launch import LaunchedWorker, WorkerCommand, launch, load_frame
from drivetrain.serving.respawn import Death, GiveUp, decide
from drivetrain.serving.run import Run, now
from drivetrain.serving.worker import Phase, Worker, WorkerLimits

#: Set-up logs are shown whole while they come; this much of them is remembered for the health check.
_SETUP_LOG_CHARACTERS = 256 * 1024

#: Why a prediction failed before any worker had it.
START_FAULT = "It could not be started: the server has a fault, and its log says more."


class ModelState(Enum):
    """Whether the model can run predictions."""

    STARTING = "starting"
    READY = "ready"
    SETUP_FAILED = "setup_failed"
    DEFUNCT = "defunct"
    STOPPED = "stopped"


class SetupRecord(msgspec.Struct, kw_only=True):
    """What is known of the latest set-up.

    Attributes:
        failure: Why loading or set-up failed.
        stage: ``load``, ``setup`` or ``process``: where it failed.
        logs: The end of what was written meanwhile.
    """

    started_at: datetime
    completed_at: datetime | None = None
    failure: Failure | None = None
    stage: str | None = None
    logs: str = ""


class SupervisorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to supervise.

    Attributes:
        workers: How many processes hold the model.
        concurrency: Predictions at once in each; ``None`` takes what the project's code says.
        setup_timeout: How long loading and set-up may take; ``None`` is for ever.
        cancel_grace: How long a prediction may take to obey its cancelation before its worker is ended.
        prediction_timeout: How long a prediction may run before it fails; ``None`` is for ever.
        predictions_per_worker: How many predictions a worker runs before it is replaced by a fresh one; ``None`` is for ever.
        devices: GPUs to deal out among several workers, as ``CUDA_VISIBLE_DEVICES`` names them.
    """

    workers: int = 1
    concurrency: int | None = None
    setup_timeout: timedelta | None = None
    cancel_grace: timedelta = timedelta(seconds=10)
    prediction_timeout: timedelta | None = None
    predictions_per_worker: int | None = None
    devices: tuple[str, ...] = ()


class SupervisorHooks(msgspec.Struct, kw_only=True):
    """What the owner of a supervisor wants to be told. Called in the event loop.

    Attributes:
        approve: Called with the signature before the first set-up; an error it raises stops the start and is raised from
            ``ready``.
        log: Text of a worker that belongs to no prediction.
        settled: Called when a start (or a reload) has ended, in readiness or in failure.
        defunct: Called when no worker is left and none will be started.
    """

    approve: Callable[[Signature], None] = lambda _signature: None
    log: Callable[[Log], None] = lambda _log: None
    settled: Callable[[], None] = lambda: None
    defunct: Callable[[], None] = lambda: None


class ForkSource(Protocol):
    """Where workers can be had faster than by starting them, if it has any."""

    @property
    def records(self) -> bool:
        """Whether workers are to report what they import."""

    def start(self) -> None:
        """The project is about to be loaded as it is now on disk."""

    def may_fork(self, *, waits: bool) -> bool:
        """Whether ``fork`` is worth trying; ``waits``: even if it takes as long as a start."""

    async def fork(self, command: WorkerCommand, *, limit: timedelta | None = None) -> LaunchedWorker | None:
        """A worker; ``None`` if it must be started in the usual way. Never raises for a reason of its own."""

    def learn(self, report: Imported) -> None:
        """A worker has reported what it imported."""

    def kill(self) -> None:
        """Have no more. May be called twice."""

    async def aclose(self) -> None:
        """Have no more, and leave nothing behind. May be called twice."""


class Supervisor:
    """Owns the workers of one model.

    Args:
        command: How to start a worker.
        options: How to supervise.
        hooks: Who is told.
        forks: Where else to have workers from; owned from now on.
    """

    def __init__(
        self, command: WorkerCommand, options: SupervisorOptions, hooks: SupervisorHooks, forks: ForkSource | None = None
    ) -> None:
        self.state = ModelState.STARTING
        self.setup = SetupRecord(started_at=now())
        self.signature: Signature | None = None
        self.concurrency = options.concurrency or 1
        self._batch: BatchPolicy | None = None
        self._is_holding = False
        self._command = command
        self._options = options
        self._hooks = hooks
        self._forks = forks
        self._forking: set[asyncio.Task[None]] = set()
        self._workers: list[Worker] = []
        self._free_numbers = set(range(options.workers))
        self._waiting: deque[Run] = deque()
        self._deaths: list[Death] = []
        self._timers: set[asyncio.TimerHandle] = set()
        self._start_error: DrivetrainError | None = None
        self._settled = asyncio.Event()

    @property
    def capacity(self) -> int:
        """How many predictions can run at once when every worker is well."""
        return self._options.workers * self.concurrency

    @property
    def free_slots(self) -> int:
        """How many predictions could start now."""
        return sum(worker.free_slots for worker in self._workers)

    @property
    def waiting(self) -> int:
        """How many predictions wait for a slot."""
        return len(self._waiting)

    @property
    def deaths(self) -> int:
        """How many workers have ended unasked."""
        return len(self._deaths)

    def start(self, first: LaunchedWorker | None = None) -> None:
        """Start the workers.

        Args:
            first: A worker that is already under way.
        """
        if self._forks is not None:
            self._forks.start()
        self._add_worker(first, waits=True)
        # The others wait until the first has shown that the project loads: its signature decides their concurrency.

    async def ready(self) -> None:
        """Wait until the model can run predictions, or is known not to.

        Raises:
            DrivetrainError: What ``approve`` raised. A failed set-up does not raise; see ``state`` and ``setup``.
        """
        await self._settled.wait()
        if self._start_error is not None:
            raise self._start_error

    def submit(self, run: Run) -> None:
        """Run a prediction as soon as a slot is free, after those submitted before."""
        if self.state in (ModelState.DEFUNCT, ModelState.STOPPED):
            run.fail(f"The model is {self.state.value}.", worker_lost=True)
            return
        run.waiting_since = time.monotonic()
        self._waiting.append(run)
        self._assign()

    def position(self, run: Run) -> int | None:
        """How many predictions are before it in the queue; ``None`` when it does not wait for a slot."""
        return self._waiting.index(run) if run in self._waiting else None

    def cancel(self, run: Run) -> None:
        """Stop a prediction, wherever it is. Does nothing when it has ended. May be called twice."""
        if run.is_finished or run.cancel_requested:
            return
        run.cancel_requested = True
        for worker in self._workers:
            if worker.holds(run):
                worker.cancel(run)
                return
        with contextlib.suppress(ValueError):
            self._waiting.remove(run)
        run.complete(Status.CANCELED)

    async def check_health(self) -> HealthReport:
        """Run the author's health check in a ready worker."""
        for worker in self._workers:
            if worker.phase is Phase.READY:
                return await worker.check_health()
        return HealthReport(healthy=False, message="no worker is ready")

    async def reload(self) -> None:
        """Replace the workers by new ones that load the project as it is now on disk."""
        self.state = ModelState.STARTING
        self.setup = SetupRecord(started_at=now())
        self.signature = None
        self._deaths.clear()
        self._settled.clear()
        self._cancel_timers()
        await self._stop_forking()
        await self._end_workers(grace=timedelta(seconds=10))
        self.start()

    async def stop(self, grace: timedelta) -> None:
        """Let predictions in slots finish, fail those that wait, end the workers. May be called twice.

        Args:
            grace: How long the predictions in slots, and then the processes, may take.
        """
        self.state = ModelState.STOPPED
        self._settled.set()
        self._cancel_timers()
        while self._waiting:
            self._waiting.popleft().fail("The model server was shut down before this prediction started.", worker_lost=True)
        await self._stop_forking()
        await self._end_workers(grace)
        if self._forks is not None:
            await self._forks.aclose()

    def kill(self) -> None:
        """End the workers at once, and start no others; predictions in them fail."""
        self.state = ModelState.STOPPED
        self._settled.set()
        self._cancel_timers()
        for task in self._forking:
            task.cancel()
        if self._forks is not None:
            self._forks.kill()
        for worker in self._workers:
            worker.kill()

    async def _end_workers(self, grace: timedelta) -> None:
        workers = [worker for worker in self._workers if worker.phase is not Phase.ENDED]
        if not workers:
            return
        for worker in workers:
            worker.stop()
        ends = [worker.ended for worker in workers]
        _, late = await asyncio.wait(ends, timeout=grace.total_seconds())
        if late:
            for worker in workers:
                worker.kill()
            await asyncio.wait(ends)

    def worker_loaded(self, worker: Worker, signature: Signature, *, batches: bool) -> None:
        """Implements ``WorkerOwner``."""
        if self.signature is None and not self._accept(signature, batches):
            worker.kill()
            return
        worker.set_up(self.concurrency)

    def _accept(self, signature: Signature, batches: bool) -> bool:
        try:
            self._hooks.approve(signature)
        except BadRequest as error:
            self._start_error = error
            self._settled.set()
            return False
        self.signature = signature
        # Only async code can share a worker: a second synchronous prediction would wait inside it, out of our sight.
        self.concurrency = (self._options.concurrency or signature.concurrency or 1) if signature.is_async else 1
        self._batch = (self._command.project.batch or BatchPolicy()) if batches else None
        if self._batch is not None:
            self.concurrency = self._batch.max_size
        while self._free_numbers:
            self._add_worker(waits=True)
        return True

    def worker_ready(self, worker: Worker) -> None:
        """Implements ``WorkerOwner``."""
        if self.state is ModelState.STARTING:
            self.state = ModelState.READY
            self.setup.completed_at = now()
            self._settle()
        self._assign()

    def worker_imported(self, worker: Worker, report: Imported) -> None:
        """Implements ``WorkerOwner``."""
        if self._forks is not None:
            self._forks.learn(report)

    def worker_broken(self, worker: Worker, stage: str, failure: WireFailure) -> None:
        """Implements ``WorkerOwner``."""
        if self.state is ModelState.STARTING:
            self._fail_setup(stage, Failure(message=failure.message, traceback=failure.traceback))

    def slot_released(self, worker: Worker) -> None:
        """Implements ``WorkerOwner``."""
        self._assign()

    def log_strayed(self, worker: Worker, log: Log) -> None:
        """Implements ``WorkerOwner``."""
        if worker.was_ready:
            self._hooks.log(log)
        else:
            self.log(log)

    def log(self, log: Log) -> None:
        """Take in what belongs to no prediction, and to the set-up if the model is being set up."""
        if self.state is ModelState.STARTING:
            self.setup.logs = (self.setup.logs + log.data)[-_SETUP_LOG_CHARACTERS:]
        self._hooks.log(log)

    def worker_ended(self, worker: Worker, ending: str) -> None:
        """Implements ``WorkerOwner``."""
        self._workers.remove(worker)
        self._free_numbers.add(worker.number)
        if worker.has_served_its_time and self.state is ModelState.READY:
            self._replace_worker()
            return
        if worker.was_told_to_stop or self._start_error is not None:
            return
        if self.state is ModelState.STARTING and not worker.was_ready:
            self._fail_setup("process", Failure(message=f"The worker {ending} before the model was set up."))
        self._respawn(Death(at=now(), was_ready=worker.was_ready, was_useful=worker.was_useful))

    def _respawn(self, death: Death) -> None:
        self._deaths.append(death)
        decision = decide(self._deaths, now(), ever_ready=self.state is ModelState.READY)
        if isinstance(decision, GiveUp):
            self._give_up()
        else:
            self._after(decision.delay, self._replace_worker)

    def _fail_setup(self, stage: str, failure: Failure) -> None:
        if self.state is not ModelState.STARTING or self._start_error is not None:
            return
        self.state = ModelState.SETUP_FAILED
        self.setup.completed_at = now()
        self.setup.stage = stage
        self.setup.failure = failure
        self._settle()

    def _settle(self) -> None:
        self._settled.set()
        self._hooks.settled()

    def _give_up(self) -> None:
        if self._workers:  # the others carry on
            return
        if self.state is ModelState.READY:
            self.state = ModelState.DEFUNCT
        while self._waiting:
            self._waiting.popleft().fail("The model's worker died and could not be started again.", worker_lost=True)
        self._hooks.defunct()

    def _replace_worker(self) -> None:
        try:
            self._add_worker()
        except DrivetrainError as error:
            self._hooks.log(Log(source=Source.STDERR, data=f"cannot start a worker: {error.message}\n"))
            self._respawn(Death(at=now(), was_ready=False))

    def _add_worker(self, launched: LaunchedWorker | None = None, *, waits: bool = False) -> None:
        number = min(self._free_numbers)
        if launched is None and self._forks is not None and self._forks.may_fork(waits=waits):
            self._free_numbers.remove(number)
            task = asyncio.get_running_loop().create_task(self._fork_worker(number, self._forks))
            self._forking.add(task)
            task.add_done_callback(self._forking.discard)
            return
        launched = launched or launch(self._command_for(number))
        self._free_numbers.remove(number)
        self._put_in_place(number, launched)

    async def _fork_worker(self, number: int, forks: ForkSource) -> None:
        command = self._command_for(number)
        try:
            launched = await forks.fork(command, limit=self._options.setup_timeout) or launch(command)
        except DrivetrainError as error:
            self._free_numbers.add(number)
            self._hooks.log(Log(source=Source.STDERR, data=f"cannot start a worker: {error.message}\n"))
            self._fail_setup("process", Failure(message=error.message))
            self._respawn(Death(at=now(), was_ready=False))
        except BaseException:
            self._free_numbers.add(number)
            raise
        else:
            self._put_in_place(number, launched)

    async def _stop_forking(self) -> None:
        for task in self._forking:
            task.cancel()
        if self._forking:
            await asyncio.wait(self._forking)

    def _put_in_place(self, number: int, launched: LaunchedWorker) -> None:
        load = load_frame(self._command, records=self._forks is not None and self._forks.records)
        self._workers.append(worker := Worker(number, launched, load, self, _limits(self._options)))
        if self._options.setup_timeout is not None:
            self._after(self._options.setup_timeout, lambda: self._end_late_setup(worker))

    def _command_for(self, number: int) -> WorkerCommand:
        device = visible_device(number, self._options.workers, self._options.devices)
        if device is None:
            return self._command
        return replace(self._command, variables={**self._command.variables, "CUDA_VISIBLE_DEVICES": device})

    def _end_late_setup(self, worker: Worker) -> None:
        if worker.phase in (Phase.LOADING, Phase.SETTING_UP):
            assert self._options.setup_timeout is not None
            seconds = self._options.setup_timeout.total_seconds()
            self._fail_setup("timeout", Failure(message=f"Set-up took longer than {seconds:g} seconds and was stopped."))
            worker.kill()

    def _after(self, delay: timedelta, action: Callable[[], None]) -> None:
        def act() -> None:
            self._timers.discard(timer)
            action()

        timer = asyncio.get_running_loop().call_later(delay.total_seconds(), act)
        self._timers.add(timer)

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._is_holding = False

    def _assign(self) -> None:
        while self._waiting:
            worker = self._least_busy()
            if worker is None or worker.free_slots == 0:
                return
            if self._batch is None:
                self._start(worker, 1)
            elif not self._assign_batch(worker, self._batch):
                return

    def _least_busy(self) -> Worker | None:
        if len(self._workers) == 1:
            return self._workers[0]
        return max(self._workers, key=lambda each: each.free_slots, default=None)

    def _end_hold(self) -> None:
        self._is_holding = False
        self._assign()

    def _assign_batch(self, worker: Worker, policy: BatchPolicy) -> bool:
        """Give an idle worker a batch, if it is time; whether another may be given."""
        if worker.free_slots < self.concurrency:  # one batch at a time
            return False
        waited = time.monotonic() - self._waiting[0].waiting_since
        decision = batching.decide(len(self._waiting), timedelta(seconds=waited), policy)
        if isinstance(decision, batching.Hold):
            if not self._is_holding:
                self._is_holding = True
                self._after(decision.delay, self._end_hold)
            return False
        self._start(worker, decision.count)
        return True

    def _start(self, worker: Worker, count: int) -> None:
        """Give the predictions that have waited longest to a worker. Raises nothing: a fault ends them, and is nobody else's."""
        runs = [self._waiting.popleft() for _ in range(count)]
        try:
            worker.start(runs)
        except BadRequest as error:
            for run in runs:
                run.fail(error.message)
        except Exception as error:  # noqa: BLE001 (whatever it is, nobody else knows of these predictions)
            for run in runs:
                run.fail(START_FAULT)
            report = {"message": "a fault in starting a prediction", "exception": error}
            asyncio.get_running_loop().call_exception_handler(report)


def _limits(options: SupervisorOptions) -> WorkerLimits:
    return WorkerLimits(
        cancel_grace=options.cancel_grace,
        prediction_timeout=options.prediction_timeout,
        predictions=options.predictions_per_worker,
    )
