"""A process that a platform started: makes an environment, or serves a model, as its lifeline orders."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from drivetrain.cli.serving import Audience, ServeOptions, TerminalAudience, serve
from drivetrain.cli.terminal import Terminal
from drivetrain.dialects.cog.discovery import load_project
from drivetrain.environments.environment import Environment
from drivetrain.environments.venv import find_ready, prepare
from drivetrain.model.errors import DrivetrainError
from drivetrain.model.prediction import Prediction
from drivetrain.model.project import Mode, Project
from drivetrain.model.signature import Signature
from drivetrain.serving.http.application import HttpOptions
from drivetrain.serving.launch import WorkerCommand, entry_point_of, launch
from drivetrain.serving.lifeline import MARK_VARIABLE, BuildOrder, BuiltReport, FailedReport, Lifeline, ReadyReport, ServeOrder
from drivetrain.serving.mount import mount_for_us
from drivetrain.serving.outgoing import Reach
from drivetrain.serving.server import ServerOptions
from drivetrain.serving.supervisor import ModelState, Supervisor, SupervisorOptions
from drivetrain.serving.template_keeper import DoorSource
from drivetrain.serving.webhooks import WebhookOptions
from drivetrain.settings import read_settings

#: Inputs come with files as URLs, so what is larger is no input that anybody types.
_BODY_LIMIT = 256 * 1024 * 1024

#: The platform reads every event, at its own pace; those that it has not read yet must not be dropped.
_EVERY_EVENT = 2**31

#: How long predictions may take to end is for the platform to say: it tells the server again, or kills it.
_AS_LONG_AS_THE_PLATFORM_LIKES = timedelta(days=365)

#: Should memory run out, the kernel is to end a model before it ends the platform.
_OUT_OF_MEMORY_SCORE = "500"


def run(connection: socket.socket) -> int:
    """Carry out the order that comes over the lifeline; the exit status."""
    lifeline = Lifeline(connection)
    order = lifeline.order
    terminal = Terminal(sys.stderr, has_color=False, is_interactive=False)
    try:
        if isinstance(order, ServeOrder) and order.data_place is not None:
            mount_for_us(Path(order.data), Path(order.data_place))
        lifeline.watch()
        return _build(lifeline, order, terminal) if isinstance(order, BuildOrder) else _serve(lifeline, order, terminal)
    except DrivetrainError as error:
        lifeline.refuse(error)
        return 1


def _build(lifeline: Lifeline, order: BuildOrder, terminal: Terminal) -> int:
    os.environ[MARK_VARIABLE] = order.mark  # installers carry it on
    os.chdir(order.project)
    loaded = load_project(Path(order.project), None)
    for warning in loaded.warnings:
        terminal.finding(warning)
    project = loaded.project
    if project.environment.commands:
        terminal.warn("what 'build.run' does belongs to an image build and is not done here; see 'drivetrain doctor'")
    _environment(project, terminal)
    lifeline.report(BuiltReport())
    return 0


def _serve(lifeline: Lifeline, order: ServeOrder, terminal: Terminal) -> int:
    os.chdir(order.project)
    tempfile.tempdir = order.temporary
    _limit_memory(order.memory)
    mode = Mode(order.mode)
    project = load_project(Path(order.project), None).project  # its warnings were told when it was built
    entry_point_of(project, mode)
    command = WorkerCommand(
        project=project,
        environment=_environment(project, terminal),
        environ=order.environ,
        mode=mode,
        variables={**order.variables, MARK_VARIABLE: order.mark},
    )
    with _listening(order.socket) as listener:
        forks = _forks(lifeline, order, command, terminal)
        # The model loads while the server gets ready; a worker that is to be forked comes sooner than that.
        launched = launch(command) if lifeline.door is None else None
        audience = _Platform(lifeline, mode, terminal, ordered_at=order.ordered_at)
        return serve(command, launched, listener, _options(order, project), terminal, audience, forks)


def _environment(project: Project, terminal: Terminal) -> Environment:
    """The project's environment; usually it has been built."""
    settings = read_settings(os.environ)
    return find_ready(project.environment, settings) or prepare(project.environment, settings, progress=_Lines(terminal))


def _forks(lifeline: Lifeline, order: ServeOrder, command: WorkerCommand, terminal: Terminal) -> DoorSource | None:
    if order.records is None:
        return None
    return DoorSource(lifeline.door, command, Path(order.records), tell=terminal.note, name=order.name)


@contextlib.contextmanager
def _listening(path: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        yield listener


def _options(order: ServeOrder, project: Project) -> ServeOptions:
    concurrency = order.variables.get("COG_MAX_CONCURRENCY", "")
    files_url = order.files_url.rstrip("/")
    return ServeOptions(
        supervisor=SupervisorOptions(
            concurrency=order.concurrency or (int(concurrency) if concurrency.isdigit() else 0) or project.concurrency,
            cancel_grace=timedelta(seconds=order.cancel_grace),
        ),
        # A prediction that comes again is to be run again: it comes because its first attempt was lost.
        server=ServerOptions(keep=0, history=_EVERY_EVENT, shutdown_grace=_AS_LONG_AS_THE_PLATFORM_LIKES),
        http=HttpOptions(body_limit=_BODY_LIMIT, upload_url=f"{files_url}/uploads/{{id}}"),
        webhooks=WebhookOptions(),
        reach=Reach(trusted_url=files_url),
        reloads=False,
        ignores_sigterm=False,
        traced_as=order.name if read_settings(os.environ).wants_traces else None,
    )


def _limit_memory(limit: int | None) -> None:
    """What this process and each of its children may allocate."""
    if limit is not None:
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (limit if most < 0 else min(limit, most), most))
    with contextlib.suppress(OSError):  # no such file elsewhere than on Linux
        Path("/proc/self/oom_score_adj").write_text(_OUT_OF_MEMORY_SCORE, encoding="ascii")


class _Lines:
    """Progress as lines of the platform's log."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def step(self, text: str) -> None:
        self._terminal.note(text)

    def detail(self, line: str) -> None:
        self._terminal.note(f"  {line.strip()}")


class _Platform:
    """Reports to the platform. Implements ``Audience``."""

    def __init__(self, lifeline: Lifeline, mode: Mode, terminal: Terminal, *, ordered_at: float) -> None:
        self._lifeline = lifeline
        self._mode = mode
        self._trainings: Signature | None = None
        self._terminal = terminal
        self._ordered_at = ordered_at
        self._launched_at = time.monotonic()
        self._loaded_at = self._launched_at

    def loaded(self, signature: Signature) -> None:
        self._loaded_at = time.monotonic()

    def settled(self, supervisor: Supervisor) -> bool:
        if supervisor.state is not ModelState.READY:
            failure = supervisor.setup.failure
            message = failure.message if failure is not None else f"the model is {supervisor.state.value}"
            self._lifeline.report(FailedReport(message=message, traceback=failure.traceback if failure is not None else None))
            return False
        assert supervisor.signature is not None
        phases = {
            "process": self._launched_at - self._ordered_at,
            "import": self._loaded_at - self._launched_at,
            "setup": time.monotonic() - self._loaded_at,
        }
        signature = supervisor.signature.to_wire()
        trainings = self._trainings.to_wire() if self._trainings is not None else None
        self._lifeline.report(
            ReadyReport(
                concurrency=supervisor.capacity,
                signature=signature if self._mode is Mode.PREDICT else None,
                train_signature=trainings if self._mode is Mode.PREDICT else signature,
                phases=phases,
            )
        )
        return True

    def defunct(self) -> bool:
        self._terminal.error("the model's worker died again and again, and is given up")
        return False

    def ended(self, prediction: Prediction) -> None:
        """The platform follows every prediction itself."""

    def of_trainings(self, signature: Signature) -> Audience:
        self._trainings = signature
        return _Trainings(self._terminal, logs_json=False)


class _Trainings(TerminalAudience):
    def ended(self, prediction: Prediction) -> None:
        """The platform follows every training itself."""
