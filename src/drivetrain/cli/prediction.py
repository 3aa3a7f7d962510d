"""Run predictions (or trainings) of a project from the command line: what ``run`` and ``train`` share."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivetrain.cli.opening import Opening
from drivetrain.cli.terminal import Terminal
from drivetrain.model.errors import DrivetrainError, ProjectError
from drivetrain.model.prediction import Event, Log, Prediction, Status
from drivetrain.model.project import Mode
from drivetrain.serving.launch import LaunchedWorker, launch

if TYPE_CHECKING:
    from drivetrain.cli.outputs import FileNames, Printer
    from drivetrain.model.signature import Signature
    from drivetrain.serving.run import Run
    from drivetrain.serving.server import ModelServer


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the user asked for.

    Attributes:
        mode: Predictions or trainings.
        inputs: One set of inputs for each prediction, as texts by name or as JSON values.
        target: Where output goes, from ``-o``.
        as_json: Whether to print one JSON object for each prediction instead of its output.
        is_batch: Whether there may be several predictions.
        setup_timeout: How long set-up may take.
    """

    mode: Mode
    inputs: Sequence[Inputs]
    target: Path | None
    as_json: bool
    is_batch: bool
    setup_timeout: timedelta


class Inputs:
    """Inputs of one prediction as the user gave them: texts that take their type from the signature, or JSON values."""

    def __init__(self, texts: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        self._texts = texts
        self._values = values

    def check(self, signature: Signature) -> Mapping[str, Any]:
        """Inputs as JSON values that fit the signature.

        Raises:
            InvalidInputs: They do not; all problems at once.
        """
        from drivetrain.model.inputs import InputChecker, parse_text

        values = {**self._values, **parse_text(signature, self._texts)}
        InputChecker(signature).check(values, local_files=True, strict=True)
        return values


def carry_out(opening: Opening, order: Order, terminal: Terminal) -> int:
    """Check, prepare, run, print; the exit status.

    Inputs are checked against the signature as it stands in the code before anything is built or started.
    """
    from drivetrain.dialects.cog.static_reading import read_statically

    reference = opening.entry_point(order.mode)
    reading = read_statically(opening.project.root, reference.file, reference.name, mode=order.mode.value)
    for inputs in order.inputs:
        inputs.check(reading.signature)
    command = opening.command(opening.environment(terminal), order.mode)
    launched = launch(command)  # the model loads while we import what drives it
    driver = _Driver(opening, order, terminal)
    return asyncio.run(driver.drive(command, launched))


class _Driver:
    def __init__(self, opening: Opening, order: Order, terminal: Terminal) -> None:
        self._opening = opening
        self._order = order
        self._terminal = terminal
        self._signature: Signature | None = None
        self._current: Run | None = None
        self._failed = 0

    async def drive(self, command: Any, launched: LaunchedWorker) -> int:
        from drivetrain.serving.input_files import InputFileLimits, InputFiles
        from drivetrain.serving.server import ModelServer, ServerOptions, serving
        from drivetrain.serving.supervisor import Supervisor, SupervisorHooks, SupervisorOptions

        supervisor = Supervisor(
            command,
            SupervisorOptions(setup_timeout=self._order.setup_timeout, concurrency=1),
            SupervisorHooks(approve=self._approve, log=lambda log: self._terminal.text(log.data)),
        )
        # One ended prediction is kept while its files are copied; a batch need not keep them all.
        options = ServerOptions(keep=1, shutdown_grace=timedelta(seconds=5))
        server = ModelServer(supervisor, options, InputFiles(InputFileLimits()), mode=self._order.mode)
        with self._interruptible(server):
            async with serving(server, launched):
                await supervisor.ready()
                if supervisor.setup.failure is not None:
                    raise _setup_error(self._opening, supervisor.setup.stage or "setup", supervisor.setup.failure.message)
                for number, inputs in enumerate(self._order.inputs, start=1):
                    await self._run_one(server, inputs, number)
        return 1 if self._failed else 0

    def _approve(self, signature: Signature) -> None:
        """Before set-up, which may take minutes: do the inputs fit what was really imported?"""
        self._signature = signature
        for inputs in self._order.inputs:
            inputs.check(signature)

    async def _run_one(self, server: ModelServer, inputs: Inputs, number: int) -> None:
        from drivetrain.cli.outputs import FileNames, Printer
        from drivetrain.serving.server import PredictionRequest

        signature = self._signature
        assert signature is not None
        names = FileNames(self._order.target, number=number if self._order.is_batch else None)
        printer = Printer(self._terminal, names, concatenates=signature.concatenates, streams=signature.streams)
        prints_live = not self._order.as_json and self._order.target is None

        def watch(event: Event) -> None:
            if isinstance(event, Log):
                self._terminal.text(event.data)
            elif prints_live:
                printer.watch(event)

        run = server.create(PredictionRequest(id=str(number), input=inputs.check(signature), local_files=True))
        self._current = run
        with run.watched(watch):
            prediction = await run.finished()
        self._current = None
        self._deliver(prediction, names, printer)
        self._report(prediction)

    def _deliver(self, prediction: Prediction, names: FileNames, printer: Printer) -> None:
        """Give the user what has not been printed while it came."""
        from drivetrain.cli.outputs import has_files, summarise, write_json, write_result

        if self._order.as_json:
            write_json(summarise(prediction, names), indent=not self._order.is_batch)
            return
        if self._order.target is None or has_files(prediction):
            if self._order.target is not None:
                printer.print_all(prediction)
            if prediction.status is Status.SUCCEEDED or prediction.outputs:
                printer.finish()
            return
        if prediction.outputs:
            assert self._signature is not None
            path = write_result(prediction, names, concatenates=self._signature.concatenates)
            self._terminal.note(f"Written output to: {path}")
        elif prediction.status is Status.SUCCEEDED:
            printer.finish()

    def _report(self, prediction: Prediction) -> None:
        if prediction.status is Status.SUCCEEDED:
            return
        self._failed += 1
        if prediction.failure is not None:
            self._terminal.error(f"the {self._noun} failed: {prediction.failure.message}")
        else:
            self._terminal.error(f"the {self._noun} was canceled")

    @property
    def _noun(self) -> str:
        return "training" if self._order.mode is Mode.TRAIN else "prediction"

    @contextlib.contextmanager
    def _interruptible(self, server: ModelServer) -> Any:
        """Let Ctrl-C cancel the prediction, so that the model can clean up; a second one ends everything."""
        loop = asyncio.get_running_loop()
        main_task = asyncio.current_task()
        assert main_task is not None

        def interrupt() -> None:
            if self._current is None or self._current.cancel_requested:
                main_task.cancel()
            else:
                self._terminal.note(f"Canceling the {self._noun}; press Ctrl-C again to end at once")
                server.supervisor.cancel(self._current)

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupt)
        try:
            yield
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


def _setup_error(opening: Opening, stage: str, message: str) -> DrivetrainError:
    what = {"load": "cannot be loaded", "timeout": "was not set up in time"}.get(stage, "failed in set-up")
    return ProjectError(f"the project in '{opening.project.root}' {what}: {message}", hint=import_hint(opening, message))


def import_hint(opening: Opening, message: str) -> str | None:
    """What to do about a module that is not there."""
    marker = "ModuleNotFoundError: No module named '"
    if not message.startswith(marker):
        return None
    module = message[len(marker) :].partition("'")[0].partition(".")[0]
    if opening.realisation == "host":
        return f"install '{module}' for the Python on PATH, or leave out --env host"
    config = opening.project.config_file.name
    return f"add the package that has '{module}' to the project's requirements, in '{config}' or the file it names"
