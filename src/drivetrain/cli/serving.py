"""Runs a model server until it is told to stop: listens, tells on the terminal how the model is, reloads on change."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec.structs import replace

from drivetrain.cli.summary_log import SummaryLog
from drivetrain.cli.terminal import Terminal
from drivetrain.model.prediction import Log, Prediction
from drivetrain.model.project import Mode
from drivetrain.model.signature import Signature
from drivetrain.serving.http.application import Application, HttpOptions
from drivetrain.serving.http.http_server import HttpServer
from drivetrain.serving.http.rendering import render_prediction
from drivetrain.serving.input_files import InputFileLimits, InputFiles
from drivetrain.serving.launch import LaunchedWorker, WorkerCommand, load_frame
from drivetrain.serving.outgoing import Outgoing, Reach
from drivetrain.serving.server import ModelServer, ServerOptions
from drivetrain.serving.supervisor import ForkSource, ModelState, Supervisor, SupervisorHooks, SupervisorOptions
from drivetrain.serving.template_snapshot import Snapshot
from drivetrain.serving.trainings import TrainingServer
from drivetrain.serving.uploads import Uploader
from drivetrain.serving.webhooks import WebhookOptions, Webhooks

if TYPE_CHECKING:
    from drivetrain.serving.template_project import ProjectTemplate
    from drivetrain.serving.tracing import Tracing

#: How long clients may take to be answered once every prediction has ended.
_LAST_ANSWERS_SECONDS = 5.0

#: A change to one of these makes a new worker worth its set-up.
_SOURCE_SUFFIXES = {".py", ".yaml", ".yml", ".json", ".toml", ".txt"}


class ServeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to serve.

    Attributes:
        supervisor: How to keep the model's workers.
        server: How many predictions to take.
        http: How to speak HTTP.
        webhooks: How to notify.
        reach: Whom to talk to on behalf of requests.
        reloads: Whether a changed source file restarts the worker.
        ignores_sigterm: Whether only ``POST /shutdown`` ends the server.
        snapshot: What a template does ahead for the workers of predictions.
        records: Where it is kept what that is.
        traced_as: Name of the service in traces; ``None`` makes none.
    """

    supervisor: SupervisorOptions
    server: ServerOptions
    http: HttpOptions
    webhooks: WebhookOptions
    reach: Reach
    reloads: bool
    ignores_sigterm: bool
    snapshot: Snapshot = Snapshot.OFF
    records: Path | None = None
    traced_as: str | None = None


class Audience(Protocol):
    """Who wants to know how the model is, and what became of predictions. Called in the event loop."""

    def loaded(self, signature: Signature) -> None:
        """The author's code has been imported."""

    def settled(self, supervisor: Supervisor) -> bool:
        """A start (or a reload) has ended, in readiness or in failure. Whether to go on serving."""

    def defunct(self) -> bool:
        """No worker is left, and none will be started. Whether to go on serving."""

    def ended(self, prediction: Prediction) -> None:
        """A prediction or training has ended."""

    def of_trainings(self, signature: Signature) -> Audience:
        """Who wants to know the same of the project's trainings, which have a worker of their own, and this signature."""


class TerminalAudience:
    """Tells people on a terminal, or programs that read its lines.

    Args:
        terminal: Where to.
        logs_json: Whether the summary of a prediction is a line of JSON, for programs, or one for people.
    """

    def __init__(self, terminal: Terminal, *, logs_json: bool) -> None:
        self._terminal = terminal
        self._summaries = SummaryLog(terminal, as_json=logs_json)

    def loaded(self, signature: Signature) -> None:
        """Implements ``Audience``."""

    def settled(self, supervisor: Supervisor) -> bool:
        """Implements ``Audience``."""
        setup = supervisor.setup
        if setup.failure is not None:
            self._terminal.error(
                f"set-up failed: {setup.failure.message}", hint="/health-check keeps the log; mend the project and start again"
            )
        elif supervisor.state is ModelState.READY and setup.completed_at is not None:
            seconds = (setup.completed_at - setup.started_at).total_seconds()
            self._terminal.note(f"Ready after {seconds:.1f} s")
        return True

    def defunct(self) -> bool:
        """Implements ``Audience``; the health check says so for as long as somebody asks."""
        return True

    def ended(self, prediction: Prediction) -> None:
        """Implements ``Audience``."""
        self._summaries.tell(prediction)

    def of_trainings(self, signature: Signature) -> Audience:
        """Implements ``Audience``."""
        return self


def serve(
    command: WorkerCommand,
    launched: LaunchedWorker | None,
    listener: socket.socket,
    options: ServeOptions,
    terminal: Terminal,
    audience: Audience,
    forks: ForkSource | None = None,
) -> int:
    """Serve until SIGINT, SIGTERM, SIGHUP or ``POST /shutdown``, or until the audience has had enough; the exit status.

    Args:
        forks: Where workers can be had from; ``None`` leaves it to the options.
    """
    with _event_loop() as loop:
        return loop.run_until_complete(_serve(command, launched, listener, options, terminal, audience, forks))


@contextlib.contextmanager
def _event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    import uvloop

    loop = uvloop.new_event_loop()
    try:
        yield loop
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def _serve(
    command: WorkerCommand,
    launched: LaunchedWorker | None,
    listener: socket.socket,
    options: ServeOptions,
    terminal: Terminal,
    audience: Audience,
    forks: ForkSource | None,
) -> int:
    server = _model_server(command, options, terminal, audience, forks, end=lambda: http.stop())  # noqa: PLW0108 (made below)
    trainings = _trainings(command, options, terminal, audience)
    outgoing = Outgoing(options.reach)
    webhooks = Webhooks(options.webhooks, client=outgoing.client, render=render_prediction, problem=terminal.warn)
    tracing = _tracing(options, terminal)
    application = Application(
        server,
        options.http,
        trainings=trainings,
        tracing=tracing,
        webhooks=webhooks,
        uploader=Uploader(outgoing.client),
        shut_down=lambda: http.end(),  # noqa: PLW0108 (made below)
    )
    servers = [server, trainings.server] if trainings is not None else [server]
    connections = HttpServer(application.handle, body_limit=options.http.body_limit, extra_headers=application.extra_headers)
    http = _Serving(connections, servers)
    if listener.family != socket.AF_UNIX:  # where it listens on a path, somebody has thought of the path
        host, port = listener.getsockname()[:2]
        terminal.note(f"Listening on http://{_shown_host(host)}:{port}")
    # Left in the opposite order: predictions end, then they are told, then the connections are closed and the files deleted.
    async with contextlib.AsyncExitStack() as stack:
        for each in servers:
            stack.callback(each.discard_files)
        await stack.enter_async_context(outgoing.open())
        stack.push_async_callback(webhooks.aclose)
        if tracing is not None:
            stack.push_async_callback(asyncio.to_thread, tracing.shutdown)
        for each in servers:
            stack.push_async_callback(each.stop)
        server.start(launched)
        _spare_the_collector()
        await stack.enter_async_context(_reloading(options, server.supervisor, command.project.root, terminal))
        stack.enter_context(_stopped_by_signals(http, ignores_sigterm=options.ignores_sigterm))
        await http.serve(listener)
    return 0


def _spare_the_collector() -> None:
    """Let the garbage collector look less often, and not at what stays for ever: a prediction leaves no cycles behind."""
    gc.enable()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _model_server(
    command: WorkerCommand,
    options: ServeOptions,
    terminal: Terminal,
    audience: Audience,
    forks: ForkSource | None,
    *,
    end: Callable[[], None],
) -> ModelServer:
    hooks = SupervisorHooks(
        approve=audience.loaded,
        log=lambda log: terminal.text(log.data),
        settled=lambda: None if audience.settled(supervisor) else end(),
        defunct=lambda: None if audience.defunct() else end(),
    )
    if forks is None:
        forks = _template(command, options, terminal, log=lambda log: supervisor.log(log))  # noqa: PLW0108 (made below)
    supervisor = Supervisor(command, options.supervisor, hooks, forks)
    input_files = InputFiles(InputFileLimits(reach=options.reach))
    return ModelServer(supervisor, options.server, input_files, mode=command.mode, ended=audience.ended)


def _template(
    command: WorkerCommand, options: ServeOptions, terminal: Terminal, *, log: Callable[[Log], None]
) -> ProjectTemplate | None:
    if options.snapshot is Snapshot.OFF or options.records is None or command.mode is Mode.TRAIN:
        return None
    from drivetrain.serving.template_project import ProjectTemplate

    return ProjectTemplate(command, load_frame(command), options.snapshot, options.records, tell=terminal.note, log=log)


def _tracing(options: ServeOptions, terminal: Terminal) -> Tracing | None:
    if options.traced_as is None:
        return None
    try:
        from drivetrain.serving.tracing import Tracing
    except ImportError:
        terminal.warn("traces are asked for, but OpenTelemetry is not installed; install drivetrain[tracing]")
        return None
    return Tracing(options.traced_as)


def _trainings(command: WorkerCommand, options: ServeOptions, terminal: Terminal, audience: Audience) -> TrainingServer | None:
    """The project's trainings, if it has any and predictions are served."""
    reference = command.project.train
    if reference is None or command.mode is Mode.TRAIN:
        return None
    from drivetrain.dialects.cog.static_reading import read_entry_point

    reading = read_entry_point(command.project, reference, Mode.TRAIN)
    one_worker = replace(options, supervisor=replace(options.supervisor, workers=1, concurrency=None))
    # Trainings that cannot be set up do not end the server of predictions.
    theirs = audience.of_trainings(reading.signature)
    server = _model_server(replace(command, mode=Mode.TRAIN), one_worker, terminal, theirs, None, end=lambda: None)
    return TrainingServer(server, reading.signature)


class _Serving:
    """Listens until it is told to end; then lets predictions end and their clients be answered."""

    def __init__(self, connections: HttpServer, servers: Sequence[ModelServer]) -> None:
        self._connections = connections
        self._servers = servers
        self._is_to_end = asyncio.Event()

    async def serve(self, listener: socket.socket) -> None:
        await self._connections.start([listener])
        await self._is_to_end.wait()
        self._connections.close()
        closed = asyncio.ensure_future(self._connections.closed())
        await asyncio.gather(*(server.stop() for server in self._servers))
        _, late = await asyncio.wait({closed}, timeout=_LAST_ANSWERS_SECONDS)
        if late:  # such as a client that never reads
            self._connections.abort()
        await closed

    def end(self) -> None:
        """Let what runs finish."""
        self._is_to_end.set()

    def stop(self) -> None:
        """Let what runs finish; called again, do not wait for it."""
        if self._is_to_end.is_set():
            for server in self._servers:
                server.hurry()
        self.end()


@contextlib.contextmanager
def _stopped_by_signals(http: _Serving, *, ignores_sigterm: bool) -> Iterator[None]:
    """The first SIGINT or SIGTERM lets what runs finish, the second does not; a terminal that is closed lets it finish too."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, http.stop)
    loop.add_signal_handler(signal.SIGTERM, (lambda: None) if ignores_sigterm else http.stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        # Both the kernel and the shell tell of a closed terminal: the second time means nothing, also while the rest is cleaned up.
        # So this handler stays until the loop is closed.
        loop.add_signal_handler(signal.SIGHUP, http.end)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@contextlib.asynccontextmanager
async def _reloading(options: ServeOptions, supervisor: Supervisor, root: Path, terminal: Terminal) -> AsyncIterator[None]:
    if not options.reloads:
        yield
        return
    task = asyncio.create_task(_reload_on_change(supervisor, root, terminal))
    try:
        yield
    finally:
        task.cancel()


async def _reload_on_change(supervisor: Supervisor, root: Path, terminal: Terminal) -> None:
    from watchfiles import DefaultFilter, awatch

    def is_source(change: object, path: str) -> bool:
        return Path(path).suffix in _SOURCE_SUFFIXES and DefaultFilter()(change, path)  # type: ignore[arg-type] # watchfiles' own enum

    async for changes in awatch(root, watch_filter=is_source):
        names = sorted({Path(path).name for _, path in changes})
        terminal.note(f"Reloading: {', '.join(names[:3])}{' …' if len(names) > 3 else ''} changed")
        await supervisor.reload()


def _shown_host(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104 (shown, not bound)
        return "localhost"
    return f"[{host}]" if ":" in host else host
