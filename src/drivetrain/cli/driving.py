"""Drive a worker through the predictions that the user ordered, and print what comes."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from datetime import timedelta

from drivetrain.cli.opening import Opening
from drivetrain.cli.outputs import FileNames, Printer, deliver_summary, has_files, write_result
from drivetrain.cli.prediction import Inputs, Order
from drivetrain.cli.terminal import Terminal
from drivetrain.model.errors import DrivetrainError, ProjectError
from drivetrain.model.prediction import Event, Log, Prediction, Status
from drivetrain.model.project import Mode
from drivetrain.model.signature import Signature
from drivetrain.serving.input_files import InputFileLimits, InputFiles
from drivetrain.serving.launch import LaunchedWorker, WorkerCommand
from drivetrain.serving.outgoing import Reach
from drivetrain.serving.run import Run
from drivetrain.serving.server import ModelServer, PredictionRequest, ServerOptions, serving
from drivetrain.serving.supervisor import Supervisor, SupervisorHooks, SupervisorOptions


def drive(opening: Opening, order: Order, terminal: Terminal, command: WorkerCommand, launched: LaunchedWorker) -> int:
    """Run every prediction of an order in a worker that is already under way; the exit status."""
    return asyncio.run(_Driver(opening, order, terminal).drive(command, launched))


class _Driver:
    def __init__(self, opening: Opening, order: Order, terminal: Terminal) -> None:
        self._opening = opening
        self._order = order
        self._terminal = terminal
        self._signature: Signature | None = None
        self._current: Run | None = None
        self._failed = 0

    async def drive(self, command: WorkerCommand, launched: LaunchedWorker) -> int:
        supervisor = Supervisor(
            command,
            SupervisorOptions(setup_timeout=self._order.setup_timeout, concurrency=1),
            SupervisorHooks(approve=self._approve, log=lambda log: self._terminal.text(log.data)),
        )
        # One ended prediction is kept while its files are copied; a batch need not keep them all.
        options = ServerOptions(keep=1, shutdown_grace=timedelta(seconds=5))
        server = ModelServer(
            supervisor, options, InputFiles(InputFileLimits(reach=Reach(allow_private=True))), mode=self._order.mode
        )
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
        signature = self._signature
        assert signature is not None
        names = self._order.file_names(number)
        printer = Printer(self._terminal, names, concatenates=signature.concatenates, streams=signature.streams)
        prints_live = not self._order.as_json and self._order.target is None
        unprintable: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def watch(event: Event) -> None:
            try:
                if isinstance(event, Log):
                    self._terminal.text(event.data)
                elif prints_live:
                    printer.watch(event)
            except Exception as error:  # noqa: BLE001 (raised below; from here it would reach nobody but the event loop)
                if not unprintable.done():
                    unprintable.set_exception(error)

        run = server.create(PredictionRequest(id=str(number), input=inputs.check(signature), local_files=True))
        self._current = run
        finished = asyncio.ensure_future(run.finished())
        with run.watched(watch):
            await asyncio.wait((finished, unprintable), return_when=asyncio.FIRST_COMPLETED)
        if unprintable.done():
            finished.cancel()
            server.supervisor.cancel(run)
            unprintable.result()
        prediction = finished.result()
        self._current = None
        self._deliver(prediction, names, printer)
        self._report(prediction)

    def _deliver(self, prediction: Prediction, names: FileNames, printer: Printer) -> None:
        """Give the user what has not been printed while it came."""
        if self._order.as_json:
            deliver_summary(prediction, names, self._terminal, indent=not self._order.is_batch)
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
    def _interruptible(self, server: ModelServer) -> Iterator[None]:
        """Let Ctrl-C cancel the prediction, so that the model can clean up; a second one ends everything."""
        loop = asyncio.get_running_loop()
        main_task = asyncio.current_task()
        assert main_task is not None

        def interrupt() -> None:
            if self._current is None or self._current.cancel_requested:
                server.supervisor.kill()
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
    stages = {"load": "cannot be loaded", "process": "could not be started", "timeout": "was not set up in time"}
    what = stages.get(stage, "failed in set-up")
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
