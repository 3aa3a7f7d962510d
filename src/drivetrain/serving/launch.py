"""Start a worker process. Imports little, so that the command line can start one before it imports the rest of the server."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from drivetrain.environments.environment import Environment
from drivetrain.model.errors import OutsideFailed, ProjectError
from drivetrain.model.project import Mode, Project, Reference

#: Set for every process of a worker, to find those that left its process group when the worker has ended.
FAMILY_VARIABLE = "DRIVETRAIN_WORKER"

_LOG_PIPE_BYTES = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class WorkerCommand:
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
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LaunchedWorker:
    """A worker process just started, and the server's ends of its connections.

    Attributes:
        process: The process, leader of its own group.
        connection: Socket that carries frames.
        log: Descriptor of the pipe that carries its standard output and error.
        family: Value of ``FAMILY_VARIABLE`` in it and its descendants.
    """

    process: subprocess.Popen[bytes]
    connection: socket.socket
    log: int
    family: str


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


def _launch(command: WorkerCommand) -> LaunchedWorker:
    family = uuid.uuid4().hex
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        connection, connection_end = socket.socketpair()
        ours.callback(connection.close)
        theirs.callback(connection_end.close)
        log, log_end = os.pipe()
        ours.callback(os.close, log)
        theirs.callback(os.close, log_end)
        _enlarge(log_end)
        process = subprocess.Popen(
            [str(command.environment.python), str(worker_directory()), str(connection_end.fileno())],
            cwd=command.project.root,
            env={**process_variables(command), FAMILY_VARIABLE: family},
            stdin=subprocess.DEVNULL,
            stdout=log_end,
            stderr=log_end,
            pass_fds=(connection_end.fileno(),),
            start_new_session=True,
        )
        ours.pop_all()  # kept open: the worker is there
        return LaunchedWorker(process=process, connection=connection, log=log, family=family)


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


def _enlarge(pipe: int) -> None:
    """Let a burst of output wait in the kernel rather than in the model; the default of 64 KiB is little for a progress bar."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):  # over the user's limit for pipes: the default will do
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _LOG_PIPE_BYTES)
