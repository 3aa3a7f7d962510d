"""Have a template fork a worker.

The server's half of what ``drivetrain_worker.template_socket`` describes: change one, change the other. Whoever holds a *door*, a
socket whose other end the template listens on, may ask: its owner, and other processes that the owner has given one to.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import socket
import struct
import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from drivetrain.serving.launch import LaunchedWorker, WorkerCommand, process_variables
from drivetrain.serving.spawning import FAMILY_VARIABLE, connections

#: A fork takes milliseconds, and more where the template holds many gigabytes. One that takes so long is stuck.
_FORK_SECONDS = 5.0

#: How long the template may take to tell of an end that the kernel has told of.
_REAPING_SECONDS = 1.0

_LENGTH = struct.Struct(">I")


class TemplateRefused(Exception):  # noqa: N818 (an answer; whoever gets it starts the worker in the usual way)
    """A template did not fork a worker; says why, as in "it holds an open connection"."""


class Door:
    """A connection over which a template can be asked for workers, by several threads at once.

    Args:
        connection: The socket; owned from now on.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._lock = threading.Lock()

    def fork(self, command: WorkerCommand) -> LaunchedWorker:
        """Have a worker forked. Blocks for as long as the fork takes.

        Raises:
            TemplateRefused: There is none. What was asked for late is ended, if it comes.
        """
        family = uuid.uuid4().hex
        variables = {**process_variables(command), FAMILY_VARIABLE: family}
        try:
            with connections() as ends, contextlib.ExitStack() as failed:
                answers = _Answers()
                failed.callback(answers.close)
                with answers.their_end as their_answers:
                    descriptors = [their_answers.fileno(), ends.their_connection.fileno(), ends.their_log]
                    self.send({"type": "fork", "variables": variables, **_inherited()}, descriptors)
                process = ForkedProcess(answers)
                failed.pop_all()
                return LaunchedWorker(process=process, connection=ends.connection, log=ends.log, family=family)
        except OSError as error:
            raise TemplateRefused(f"it cannot be reached: {error.strerror or error}") from error

    def introduce(self) -> socket.socket:
        """Another door, to be given to another process.

        Raises:
            TemplateRefused: The template is gone.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self.send({"type": "introduce"}, [theirs.fileno()])
        except OSError as error:
            ours.close()
            raise TemplateRefused(f"it cannot be reached: {error.strerror or error}") from error
        return ours

    def close(self) -> None:
        """Give the door up. A template whose owner does so ends."""
        self._socket.close()

    def send(self, frame: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send a frame, and descriptors with it.

        Raises:
            OSError: Nobody takes it.
        """
        payload = json.dumps(frame).encode()
        data = _LENGTH.pack(len(payload)) + payload
        with self._lock:
            self._socket.settimeout(_FORK_SECONDS)
            sent = socket.send_fds(self._socket, [data], descriptors)
            self._socket.sendall(data[sent:])


def _inherited() -> dict[str, Any]:
    """What a child of this process would have from it."""
    umask = os.umask(0o77)
    os.umask(umask)
    return {
        "umask": umask,
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")},
        "out_of_memory_score": int(Path("/proc/self/oom_score_adj").read_text(encoding="ascii")),
    }


class ForkedProcess:
    """Implements ``WorkerHandle`` for a worker whose parent is a template.

    Raises:
        TemplateRefused: There is no worker.
    """

    def __init__(self, answers: _Answers) -> None:
        answer = answers.next(_FORK_SECONDS)
        if answer is None:
            raise TemplateRefused("it has ended, or does not answer")
        if answer["type"] != "forked":
            raise TemplateRefused(answer.get("reason", "the fork ended at once"))
        self.pid: int = answer["pid"]
        self.returncode: int | None = None
        self._answers = answers
        self._descriptor = -1
        try:
            self._descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:  # it has ended already
            pass
        except (OSError, AttributeError) as error:  # without it nobody would learn of the worker's end
            raise TemplateRefused("this system gives no handle on a process") from error

    def wait(self) -> int | None:
        """Block until it has ended; its parent says how. If that has ended, or does not, nobody knows."""
        try:
            if self._descriptor >= 0:
                poller = select.poll()
                poller.register(self._descriptor, select.POLLIN)
                poller.poll()
            answer = self._answers.next(_REAPING_SECONDS)
            if answer is not None and answer["type"] == "ended":
                self.returncode = os.waitstatus_to_exitcode(answer["status"])
            return self.returncode
        finally:
            self.close()

    def close(self) -> None:
        """Do not wait for it. May be called twice."""
        self._answers.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class _Answers:
    """What a template says about one worker."""

    def __init__(self) -> None:
        self._socket, self.their_end = socket.socketpair()
        self._buffer = b""
        self._frames = self._read()

    def next(self, seconds: float | None) -> dict[str, Any] | None:
        """The next answer; ``None`` when there will be none, or not in time."""
        self._socket.settimeout(seconds)
        try:
            return next(self._frames, None)
        except OSError:  # not in time, or never
            return None

    def close(self) -> None:
        self._socket.close()
        self.their_end.close()

    def _read(self) -> Iterator[dict[str, Any]]:
        while data := self._socket.recv(65536):
            self._buffer += data
            while len(self._buffer) >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(self._buffer)
                if len(self._buffer) < _LENGTH.size + length:
                    break
                payload = self._buffer[_LENGTH.size : _LENGTH.size + length]
                self._buffer = self._buffer[_LENGTH.size + length :]
                yield json.loads(payload)
