"""The platform's side of the process that runners are forked from; the other side is ``drivetrain.cli.runners``."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from drivetrain.model.errors import OutsideFailed

_MODULE = "drivetrain.cli.runners"


@dataclass(frozen=True, kw_only=True)
class Forked:
    """A process forked from the template.

    Attributes:
        pid: The process, leader of its session and group.
        status: How it ended, as ``waitpid`` gives it; ``None`` if nobody can know, since the template ended first.
    """

    pid: int
    status: asyncio.Future[int | None]


class RunnerTemplate:
    """Owns the template process, and makes another when it has died.

    Args:
        environ: Its environment, which model servers read their settings from. What models see is another.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._process: _TemplateProcess | None = None
        self._is_closed = False

    def warm_up(self) -> None:
        """Start the process, if there is none, and do not wait for it."""
        if self._is_closed:
            raise OutsideFailed("the fleet is closed")
        if self._process is None or self._process.has_ended:
            self._process = _TemplateProcess(self._environ)

    async def fork(self, lifeline: socket.socket, log: int) -> Forked:
        """Fork a process, and give it these two; the caller's own copies stay open.

        Raises:
            TemplateGone: The template died meanwhile. A process may have been forked all the same, so what it was given must not be
                given to another: with a new pair of each it can be tried again.
            OutsideFailed: The operating system would not.
        """
        self.warm_up()
        assert self._process is not None
        return await self._process.fork(lifeline, log)

    async def aclose(self) -> None:
        """End the process. May be called twice."""
        self._is_closed = True
        if self._process is not None:
            await self._process.aclose()


class TemplateGone(Exception):  # noqa: N818 (what has happened to it)
    """The template process has ended, or is ending."""


class _TemplateProcess:
    """One template process: what was asked of it, and who waits for what."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _MODULE, str(theirs.fileno())],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # an interrupt typed at the platform is for the platform
            )
        self._control.setblocking(False)
        self._pending = b""
        self._number = 0
        self._forks: dict[int, asyncio.Future[int]] = {}
        self._endings: dict[int, asyncio.Future[int | None]] = {}
        self.has_ended = False
        self._loop.add_reader(self._control, self._read)

    async def fork(self, lifeline: socket.socket, log: int) -> Forked:
        """See ``RunnerTemplate``."""
        self._number += 1
        number = self._number
        answer = self._forks[number] = self._loop.create_future()
        status = self._endings[number] = self._loop.create_future()
        try:
            socket.send_fds(self._control, [b"%d\n" % number], [lifeline.fileno(), log])
        except OSError as error:
            del self._forks[number]  # nobody waits for it
            self._end()
            raise TemplateGone(f"cannot be asked: {error.strerror}") from error
        return Forked(pid=await answer, status=status)

    async def aclose(self) -> None:
        """End the process."""
        self._end()
        await asyncio.to_thread(self._process.wait)

    def _read(self) -> None:
        try:
            data = self._control.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            verb, number, rest = line.decode().split(" ", 2)
            self._heard(verb, int(number), rest)

    def _heard(self, verb: str, number: int, rest: str) -> None:
        if verb == "ended":
            _settle(self._endings.pop(number), int(rest))
            return
        answer = self._forks.pop(number)
        if answer.done():  # whoever asked has been canceled; what was forked finds its lifeline closed
            return
        if verb == "forked":
            answer.set_result(int(rest))
        else:
            answer.set_exception(OutsideFailed(f"cannot start a runner: {rest}"))

    def _end(self) -> None:
        if self.has_ended:
            return
        self.has_ended = True
        self._loop.remove_reader(self._control)
        self._control.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        for answer in self._forks.values():
            if not answer.done():
                answer.set_exception(TemplateGone("has ended"))
        for status in self._endings.values():
            _settle(status, None)
        threading.Thread(target=self._process.wait, daemon=True).start()  # so that it does not stay a zombie


def _settle(future: asyncio.Future[int | None], status: int | None) -> None:
    if not future.done():
        future.set_result(status)
