"""A worker process as the server's event loop sees it: frames and log text come out, frames go in, and one day it has ended.

Theory of the log. A worker writes what a prediction prints into a pipe before it sends the frame that follows (an output, the
completion) through the socket. So whatever belongs before a frame is already in the pipe when the frame has been read: the pipe is
emptied before the frames of a read are handed on, and no text ever arrives after the completion it belongs to.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import socket
import struct
import termios
import threading
from collections.abc import Sequence
from typing import Protocol

from drivetrain.model.errors import InternalError
from drivetrain.model.prediction import Log, Source
from drivetrain.serving import family
from drivetrain.serving.frame_memory import FrameMemory
from drivetrain.serving.frames import FrameDecoder, ServerFrame, WorkerFrame, encode
from drivetrain.serving.launch import LaunchedWorker, WorkerHandle
from drivetrain.serving.log_stream import LogDecoder

#: More than this in one piece would be mapped from the kernel anew for each read.
_READ_BYTES = 64 * 1024

#: A process that is ending closes its connection first, and may then take a moment to write its core or run its clean-up.
_ENDING_SECONDS = 1.0


class ProcessListener(Protocol):
    """Who wants to know what a worker process does. Called in the event loop, in the order things happened."""

    def frame_received(self, frame: WorkerFrame) -> None:
        """A frame came."""

    def log_received(self, log: Log) -> None:
        """The process, or a child of it, wrote something."""

    def process_ended(self, ending: str) -> None:
        """The process is gone, and nothing more will come. ``ending`` says how, as in "was killed by SIGSEGV"."""


class WorkerProcess:
    """Owns a launched worker: its two descriptors, the process, and the end of both.

    Args:
        launched: The process and our ends of its connections.
        listener: Told about everything.
        loop: The loop to be called in.
    """

    def __init__(self, launched: LaunchedWorker, listener: ProcessListener, loop: asyncio.AbstractEventLoop) -> None:
        self.pid = launched.process.pid
        self._launched = launched
        self._listener = listener
        self._loop = loop
        self._socket = launched.connection
        self._log = launched.log
        self._frames = FrameDecoder()
        self._texts = LogDecoder()
        self._unsent = bytearray()
        self._memory: FrameMemory | None = None
        self._is_memory_due = False
        self._has_no_memory = False
        self._flush_scheduled = False
        self._has_ended = False
        self._why_killed = ""
        self.ended: asyncio.Future[None] = loop.create_future()
        self._socket.setblocking(False)
        os.set_blocking(self._log, False)
        loop.add_reader(self._socket, self._read_frames)
        loop.add_reader(self._log, self._read_log)
        threading.Thread(target=self._wait, name=f"worker-{self.pid}", daemon=True).start()

    def send(self, frame: ServerFrame, *, at_once: bool = False) -> None:
        """Send a frame. Does nothing once the process has ended.

        Args:
            frame: What to send.
            at_once: Whether it does not wait for others of this turn of the loop, to go out together with them.
        """
        if self._has_ended:
            return
        self._unsent += encode(frame, self._put_elsewhere)
        if self._flush_scheduled:
            return
        if at_once:
            self._flush()
        else:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def kill(self) -> None:
        """End the process at once, and every process it started."""
        if not self._has_ended:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def _put_elsewhere(self, pieces: Sequence[bytes]) -> int | None:
        """Put a large frame into the shared memory, which is made for the first one."""
        if self._memory is None and not self._has_no_memory:
            try:
                self._memory = FrameMemory()
                self._is_memory_due = True
            except OSError:
                self._has_no_memory = True
        return None if self._memory is None else self._memory.put(pieces)

    def _flush(self) -> None:
        self._flush_scheduled = False
        if self._has_ended:
            return
        try:
            if self._is_memory_due:  # it goes ahead of the frame that needs it
                assert self._memory is not None
                sent = socket.send_fds(self._socket, [self._unsent], [self._memory.descriptor])
                self._is_memory_due = False
            else:
                sent = self._socket.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS:  # its end is closed; the process is ending and will be reported
                self._unsent.clear()
                return
            sent = 0  # so many descriptors are on their way in all the user's sockets
        del self._unsent[:sent]
        if self._unsent:
            self._flush_scheduled = True
            self._loop.add_writer(self._socket, self._flush_rest)

    def _flush_rest(self) -> None:
        self._loop.remove_writer(self._socket)
        self._flush()

    def _read_frames(self) -> None:
        try:
            frames = self._received()
        except BlockingIOError:
            return
        except OSError:
            frames = None
        except InternalError as error:
            self._listener.log_received(Log(source=Source.STDERR, data=f"{error}\n"))
            self._why_killed = "sent what the server cannot read"
            self.kill()
            return
        if frames is None:
            self._loop.remove_reader(self._socket)
            self._loop.call_later(_ENDING_SECONDS, self._end_cut_off)
            return
        self._hand_on(frames)

    def _received(self) -> list[WorkerFrame] | None:
        """The frames that are complete after one more read; ``None`` if nothing will come any more."""
        room = self._frames.room()
        if room is not None:
            count = self._socket.recv_into(room)
            return self._frames.take(count) if count else None
        data = self._socket.recv(_READ_BYTES)
        return self._frames.feed(data) if data else None

    def _end_cut_off(self) -> None:
        """A worker without its connection is of no use. Usually it was ending anyway, and has ended by now, in its own way."""
        if not self._has_ended:
            self._why_killed = "closed its connection to the server"
            self.kill()

    def _hand_on(self, frames: list[WorkerFrame]) -> None:
        try:
            if frames:
                self._empty_log()  # what belongs before any of them was there before the first was read
            for frame in frames:
                self._listener.frame_received(frame)
        except Exception:  # frames that follow are lost, and whoever waits for them would wait for ever
            self._why_killed = "was ended because the server has a fault (its log says more)"
            self.kill()
            raise

    def _read_log(self) -> None:
        try:
            data = os.read(self._log, _READ_BYTES)
        except BlockingIOError:
            return
        if not data:  # every process that could write has closed its end
            self._loop.remove_reader(self._log)
        for log in self._texts.feed(data):
            self._listener.log_received(log)

    def _empty_log(self) -> None:
        """Read what is in the pipe now, and not more: a child process may write for ever."""
        left = _bytes_waiting(self._log)
        while left > 0:
            data = os.read(self._log, left)
            left -= len(data)
            for log in self._texts.feed(data):
                self._listener.log_received(log)

    def _wait(self) -> None:
        """In a thread of its own: the one portable way to learn of the end of a child without a handler for SIGCHLD."""
        self._launched.process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        try:
            family.kill(self.pid, self._launched.family)
            self._drain_frames()
            self._empty_log()
            for log in self._texts.finish():
                self._listener.log_received(log)
        finally:  # whatever else went wrong, nobody waits for a dead process
            self._close()
            self._listener.process_ended(self._ending())
            if not self.ended.done():
                self.ended.set_result(None)

    def _ending(self) -> str:
        if self._why_killed and self._launched.process.returncode == -signal.SIGKILL:  # which was ours
            return self._why_killed
        return ending_of(self._launched.process)

    def _close(self) -> None:
        self._has_ended = True
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._loop.remove_reader(self._log)
        self._socket.close()
        os.close(self._log)
        if self._memory is not None:
            self._memory.close()

    def _drain_frames(self) -> None:
        """Take what the process sent before it ended: a prediction that it completed is completed."""
        with contextlib.suppress(OSError, InternalError):
            while (frames := self._received()) is not None:
                self._hand_on(frames)


def _bytes_waiting(descriptor: int) -> int:
    answer = fcntl.ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0")
    count: int = struct.unpack("i", answer)[0]
    return count


def ending_of(process: WorkerHandle) -> str:
    """How a process that has ended did so, as in "was killed by SIGSEGV"."""
    code = process.returncode
    if code is None:
        return "ended (nobody knows how: the template that it was forked from had ended before)"
    if code >= 0:
        return f"exited with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}"
