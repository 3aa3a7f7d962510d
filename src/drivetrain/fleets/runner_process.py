"""One process that was forked for a runner or a build: orders go in, reports come out, and when it ends nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

from drivetrain.fleets.output import RunnerOutput
from drivetrain.fleets.template import Forked
from drivetrain.fleets.workplace import Workplace
from drivetrain.serving import family, lifeline
from drivetrain.serving.lifeline import MARK_VARIABLE, Report, ReportDecoder

_READ_BYTES = 64 * 1024


class RunnerProcess:
    """Owns the lifeline and the output of a process forked from the template, and what is left when it has ended.

    Args:
        forked: The process.
        connection: Our end of the lifeline.
        output: What it writes.
        mark: Value of ``MARK_VARIABLE`` in all that it starts.
        workplace: Its directories, removed when it has ended.
        path: Its socket, removed too.
    """

    def __init__(
        self,
        forked: Forked,
        connection: socket.socket,
        output: RunnerOutput,
        *,
        mark: str,
        workplace: Workplace | None,
        path: Path | None,
    ) -> None:
        self.output = output
        self.has_ended = False
        self.was_asked = False
        self.ending = "runs"
        self._forked = forked
        self._connection = connection
        self._mark = mark
        self._workplace = workplace
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._reports = ReportDecoder()
        self._report: asyncio.Future[Report | None] = self._loop.create_future()
        self._was_hurried = False
        self._connection.setblocking(False)
        self._loop.add_reader(self._connection, self._read)
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._burial: asyncio.Task[None] | None = None
        self._handle = _handle(forked.pid)

    async def order(self, order: lifeline.Order, door: socket.socket | None = None) -> None:
        """Tell the process what to do, and give it a door of a template. If it ends meanwhile, ``report`` says so."""
        line = lifeline.encode_order(order)
        with contextlib.suppress(OSError):
            if door is not None:
                line = line[socket.send_fds(self._connection, [line], [door.fileno()]) :]
            await self._loop.sock_sendall(self._connection, line)

    async def report(self) -> Report | None:
        """What the process reports of its order; ``None`` if it ended without a report."""
        return await asyncio.shield(self._report)

    def signal(self, number: int) -> None:
        """Send a signal to the process alone. Does nothing once it has ended."""
        if self.has_ended:
            return
        with contextlib.suppress(ProcessLookupError):
            if self._handle is not None:
                signal.pidfd_send_signal(self._handle, number)
            else:
                os.kill(self._forked.pid, number)

    def hurry(self) -> None:
        """Tell a server that was told to stop not to wait for predictions. May be called twice."""
        if not self._was_hurried:
            self._was_hurried = True
            self.signal(signal.SIGTERM)

    def kill(self, *, was_asked: bool = False) -> None:
        """End the process and all it started. Returns at once; see ``ended``. May be called twice."""
        self.was_asked = self.was_asked or (was_asked and not self.has_ended)
        self.signal(signal.SIGKILL)  # the rest follows when its lifeline is closed

    def _read(self) -> None:
        try:
            data = self._connection.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        for report in self._reports.feed(data):
            if not self._report.done():
                self._report.set_result(report)
        if not data:
            self._loop.remove_reader(self._connection)
            self._burial = self._loop.create_task(self._bury())

    async def _bury(self) -> None:
        """See to it that nothing is left: of the process, of what it started, of its files."""
        self.signal(signal.SIGKILL)
        status = await asyncio.shield(self._forked.status)
        if status is None:  # only after the template was killed: nobody is left to tell
            await _gone(self._forked.pid, self._handle)
        self.has_ended = True
        self.ending = _describe(status)
        try:
            await asyncio.to_thread(self._remove)
        finally:
            self._connection.close()
            self.output.close()
            if self._handle is not None:
                os.close(self._handle)
            if not self._report.done():
                self._report.set_result(None)
            self.ended.set_result(None)

    def _remove(self) -> None:
        if sys.platform != "linux":  # where no mark can be seen
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._forked.pid, signal.SIGKILL)
        family.end_marked(MARK_VARIABLE, self._mark)
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        if self._workplace is not None:
            self._workplace.remove()


async def _gone(pid: int, handle: int | None) -> None:
    """Wait until a process has ended, though perhaps nobody takes note of it: its parent is now process 1, which may be us."""
    if handle is not None:
        await _readable(handle)
        return
    while _is_there(pid):  # noqa: ASYNC110 (nothing to wait for)
        await asyncio.sleep(0.01)


async def _readable(descriptor: int) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


def _handle(pid: int) -> int | None:
    """A descriptor that stands for the process and never for another that gets its number; ``None`` where there are none."""
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):
        return None


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _describe(status: int | None) -> str:
    if status is None:
        return "ended"
    if os.WIFSIGNALED(status):
        try:
            return f"was killed by {signal.Signals(os.WTERMSIG(status)).name}"
        except ValueError:
            return f"was killed by signal {os.WTERMSIG(status)}"
    return f"exited with status {os.WEXITSTATUS(status)}"
