"""Start a process of the worker package from plain values. Imports next to nothing: one may be started before all else is known."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

#: Set for every process of a worker, to find those that left its process group when the worker has ended.
FAMILY_VARIABLE = "DRIVETRAIN_WORKER"

_LOG_PIPE_BYTES = 1024 * 1024


class ProcessCommand:
    """What a process is started with, apart from its connections.

    Attributes:
        arguments: The interpreter, and the worker package.
        directory: The working directory.
        variables: All its environment variables but the one that marks its family.
    """

    def __init__(self, arguments: Sequence[str], directory: str, variables: Mapping[str, str]) -> None:
        self.arguments = tuple(arguments)
        self.directory = directory
        self.variables = variables

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ProcessCommand) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment] # variables are a mapping


class Connections:
    """Both ends of what connects a worker (or a template) with the server.

    Attributes:
        connection: Carries frames; ours.
        log: Carries standard output and error; ours.
        their_connection: The other end.
        their_log: The other end.
    """

    def __init__(self, connection: socket.socket, log: int, their_connection: socket.socket, their_log: int) -> None:
        self.connection = connection
        self.log = log
        self.their_connection = their_connection
        self.their_log = their_log


@contextlib.contextmanager
def connections() -> Iterator[Connections]:
    """Make connections for a process that is started in the block. Their ends are closed after it, ours only if it fails."""
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        connection, their_connection = socket.socketpair()
        ours.callback(connection.close)
        theirs.callback(their_connection.close)
        log, their_log = os.pipe()
        ours.callback(os.close, log)
        theirs.callback(os.close, their_log)
        _enlarge(their_log)
        yield Connections(connection, log, their_connection, their_log)
        ours.pop_all()  # kept open: the process is there


def new_family() -> str:
    """A value of ``FAMILY_VARIABLE`` that nobody has."""
    return os.urandom(16).hex()


def spawn(command: ProcessCommand, arguments: Sequence[str], ends: Connections, family: str) -> subprocess.Popen[bytes]:
    """Start a process with further arguments, as leader of a group of its own.

    Raises:
        OSError: The operating system would not.
    """
    return subprocess.Popen(
        [*command.arguments, *arguments],
        cwd=command.directory,
        env={**command.variables, FAMILY_VARIABLE: family},
        stdin=subprocess.DEVNULL,
        stdout=ends.their_log,
        stderr=ends.their_log,
        pass_fds=(ends.their_connection.fileno(),),
        start_new_session=True,
    )


def _enlarge(pipe: int) -> None:
    """Let a burst of output wait in the kernel rather than in the model; the default of 64 KiB is little for a progress bar."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):  # over the user's limit for pipes: the default will do
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _LOG_PIPE_BYTES)
