"""Start a worker process. Imports little, so that the command line can start one before it imports the rest of the server."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec.structs import replace

from drivetrain.environments.environment import Environment
from drivetrain.model.errors import OutsideFailed, ProjectError
from drivetrain.model.project import Mode, Project, Reference
from drivetrain.serving.spawning import Connections, ProcessCommand, connections, new_family, spawn

if TYPE_CHECKING:
    from drivetrain.serving.frames import Load


class WorkerCommand(msgspec.Struct, frozen=True, kw_only=True):
    """Everything it takes to start workers of one project.

    Attributes:
        project: What to run.
        environment: The interpreter to run it in.
        mode: Which entry point.
        environ: The process environment to start from.
        variables: Environment variables on top of the environment's and the project's.
    """

    project: Project
    environment: Environment
    environ: Mapping[str, str]
    mode: Mode = Mode.PREDICT
    variables: Mapping[str, str] = {}


class WorkerHandle(Protocol):
    """A process that was started to be a worker: a child of ours, or one forked from a template."""

    @property
    def pid(self) -> int:
        """Its id, and that of the group that it leads."""

    @property
    def returncode(self) -> int | None:
        """How it ended, as ``subprocess`` says it; ``None`` while it lives, and when nobody is left who knows."""

    def wait(self) -> object:
        """Block until it has ended."""


class LaunchedWorker(msgspec.Struct, frozen=True, kw_only=True):
    """A worker process just started, and the server's ends of its connections.

    Attributes:
        process: The process, leader of its own group.
        connection: Socket that carries frames.
        log: Descriptor of the pipe that carries its standard output and error.
        family: Value of ``FAMILY_VARIABLE`` in it and its descendants.
        is_loading: Whether it has been told already what to load.
    """

    process: WorkerHandle
    connection: socket.socket
    log: int
    family: str
    is_loading: bool = False

    def discard(self) -> None:
        """Let go of a worker that nobody wants: it ends, since its connection does."""
        self.connection.close()
        os.close(self.log)
        threading.Thread(target=self.process.wait, daemon=True).start()


def launch(command: WorkerCommand) -> LaunchedWorker:
    """Start a worker; it waits for a ``load`` frame.

    Raises:
        OutsideFailed: The operating system would not start it.
    """
    try:
        return _launch(command)
    except OSError as error:
        may_be_damaged = command.environment.directory is not None and error.filename is not None
        raise OutsideFailed(
            f"cannot start the interpreter '{command.environment.python}': {error.strerror or error}",
            hint="the environment may be damaged; delete it and run again" if may_be_damaged else None,
        ) from error


def begin_loading(launched: LaunchedWorker, command: WorkerCommand) -> LaunchedWorker:
    """Tell a worker what to load before there is a server to tell it, so that it imports the project while we import the server.

    Raises:
        ProjectError: The project names nothing to load.
    """
    from drivetrain.serving.frames import encode  # once the interpreter is starting

    with contextlib.suppress(OSError):  # it has ended already, as will be noticed
        launched.connection.sendall(encode(load_frame(command)))
    return replace(launched, is_loading=True)


def load_frame(command: WorkerCommand, *, records: bool = False) -> Load:
    """What workers of a project are told to load.

    Raises:
        ProjectError: The project names nothing to load.
    """
    from drivetrain.serving.frames import Load

    project, mode = command.project, command.mode
    reference = entry_point_of(project, mode)
    return Load(
        root=str(project.root),
        file=reference.file,
        name=reference.name,
        mode=mode.value,
        takes_lists=project.batch is not None and mode is Mode.PREDICT,
        records=records,
    )


def _launch(command: WorkerCommand) -> LaunchedWorker:
    family = new_family()
    with connections() as ends:
        process = start_process(command, [str(ends.their_connection.fileno())], ends, family)
        return LaunchedWorker(process=process, connection=ends.connection, log=ends.log, family=family)


def start_process(command: WorkerCommand, arguments: list[str], ends: Connections, family: str) -> subprocess.Popen[bytes]:
    """Start the worker package in the project's interpreter, as leader of a group of its own."""
    return spawn(process_command(command), arguments, ends, family)


def process_command(command: WorkerCommand) -> ProcessCommand:
    """What processes of a project are started with."""
    arguments = (str(command.environment.python), str(worker_directory()))
    return ProcessCommand(arguments, str(command.project.root), process_variables(command))


def worker_directory() -> Path:
    """Where the worker package is installed.

    Found without importing it: it must never become part of our own process.
    """
    import drivetrain

    return Path(drivetrain.__file__).parent.parent / "drivetrain_worker"


def entry_point_of(project: Project, mode: Mode) -> Reference:
    """File and name that a worker loads.

    Raises:
        ProjectError: The project has no such entry point.
    """
    reference = project.entry_point(mode)
    if reference is None:
        raise ProjectError(
            f"'{project.config_file}' names nothing to {mode.value}",
            hint=f'add a line like {mode.value}: "{mode.value}.py:{_EXAMPLE[mode]}"',
        )
    return reference


_EXAMPLE = {Mode.PREDICT: "Predictor", Mode.TRAIN: "train"}


def process_variables(command: WorkerCommand) -> dict[str, str]:
    """The environment variables of processes in the project's environment."""
    # PYTHONPATH makes `import cog` work in child processes too; the directory holds nothing else. What this shell has there is for
    # the shell's own Python, so it counts for that alone; what the user names with -e counts always.
    named = command.variables.get("PYTHONPATH")
    if named is None and command.environment.directory is None:
        named = command.environ.get("PYTHONPATH")
    return {
        **command.environ,
        **command.environment.variables,
        "PYTHONUNBUFFERED": "1",  # child Pythons of the model show their output as it comes
        **command.project.environment.variables,
        **command.variables,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(worker_directory() / "authoring"), named))),
    }
