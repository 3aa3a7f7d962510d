"""The process that a platform's runners are forked from: it has imported what a model server needs, and waits.

A fork costs milliseconds where a start with its imports costs a fifth of a second, and the memory of what was imported is shared.
The process has one thread and no event loop, reads nothing of any order (that goes over a runner's own lifeline, so no secret is
ever here), and ends when the platform does. It is the parent of runners, so it is the one who learns how they ended.

Started as ``python -m drivetrain.cli.runners DESCRIPTOR``, by ``drivetrain.fleets.template``, which has the other end of the
protocol: each request is a number and a line end, with two descriptors, for the runner's lifeline and its output; answers are the
lines ``forked NUMBER PID`` or ``failed NUMBER REASON``, and later ``ended NUMBER STATUS``, the status as ``waitpid`` gives it.
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
from typing import NoReturn

#: Imported when first needed elsewhere, and nearly always needed by a runner.
_ALSO_NEEDED = (
    "drivetrain.cli.runner",
    "drivetrain.dialects.cog.config",
    "drivetrain.serving.client",
    "uvloop",
)


class _Template:
    """Forks on request.

    Args:
        control: The connection to the platform.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._numbers: dict[int, int] = {}
        self._rings, self._bell = socket.socketpair()
        for end in (self._rings, self._bell):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # the wake-up descriptor below tells of it
        signal.set_wakeup_fd(self._bell.fileno(), warn_on_full_buffer=False)

    def live(self) -> None:
        """Fork until the platform is gone."""
        while True:
            readable, _, _ = select.select([self._control, self._rings], [], [])
            if self._rings in readable:
                with contextlib.suppress(BlockingIOError):
                    self._rings.recv(4096)
                self._reap()
            if self._control in readable:
                data, descriptors = _receive(self._control)
                if not data:
                    return
                self._fork(int(data), descriptors)

    def _fork(self, number: int, descriptors: list[int]) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            pid = None
            self._tell(f"failed {number} {error.strerror}")
        if pid == 0:
            self._become_runner(*descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        if pid is not None:
            self._numbers[pid] = number
            self._tell(f"forked {number} {pid}")

    def _become_runner(self, lifeline: int, log: int) -> NoReturn:
        status = 1
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for connection in (self._control, self._rings, self._bell):
                connection.close()
            for standard in (1, 2):
                os.dup2(log, standard)
            os.close(log)
            from drivetrain.cli.runner import run

            status = run(socket.socket(fileno=lifeline))
        except BaseException:  # noqa: BLE001 (there is nobody above to catch it)
            sys.excepthook(*sys.exc_info())
        finally:
            with contextlib.suppress(OSError):  # the platform is gone
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if (number := self._numbers.pop(pid, None)) is not None:
                    self._tell(f"ended {number} {status}")

    def _tell(self, line: str) -> None:
        self._control.sendall(line.encode() + b"\n")


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    """A request. One has two descriptors, and the kernel never joins what carries descriptors with what follows."""
    data, ancillary, _, _ = control.recvmsg(64, socket.CMSG_SPACE(2 * array.array("i").itemsize))
    descriptors = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return data, list(descriptors)


def main(descriptor: int) -> None:
    """Be the template until the platform is gone.

    Args:
        descriptor: A connected stream socket, inherited from the platform.
    """
    os.set_inheritable(descriptor, False)
    control = socket.socket(fileno=descriptor)
    for name in _ALSO_NEEDED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is here now stays; left alone by the collector, its pages stay shared
    with contextlib.suppress(OSError):  # the platform is gone
        _Template(control).live()


if __name__ == "__main__":
    main(int(sys.argv[1]))
