"""The worker's end of the socket to its model server: whole frames in and out, from any thread."""

from __future__ import annotations

import os
from _socket import MSG_DONTWAIT, socket  # the module around it is slow to import, and adds nothing that is needed here
from _thread import allocate_lock
from collections import deque
from typing import Deque, Iterator, List, Optional

from drivetrain_worker.protocol import Frame, FrameDecoder, encode

#: More than this in one piece would be mapped from the kernel anew for each read.
_READ_BYTES = 64 * 1024


class ServerGone(Exception):  # noqa: N818 (a fact about the other side, not a failure of ours)
    """The model server closed its end; the worker has no reason to live on."""


class Channel:
    """Frames over one file descriptor.

    ``send`` may be called from any thread. ``receive`` and ``poll`` belong to one reader: the main thread, also from within its
    signal handlers, since they hold no lock.

    Args:
        descriptor: A connected, blocking stream socket.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._socket = socket(fileno=descriptor)
        self._socket.settimeout(None)  # in a fork, libraries may have changed what sockets begin with
        self._decoder = FrameDecoder()
        self._received: Deque[Frame] = deque()
        self._write_lock = allocate_lock()

    def __del__(self) -> None:
        self._socket.detach()  # the descriptor belongs to whoever gave it

    def receive(self) -> Frame:
        """Wait for the next frame.

        Raises:
            ServerGone: The server closed the connection.
        """
        while not self._received:
            self._read()
        return self._received.popleft()

    def poll(self) -> Optional[Frame]:
        """The next frame if one is there, else ``None``; never waits.

        Raises:
            ServerGone: The server closed the connection.
        """
        while not self._received and self._read(MSG_DONTWAIT):
            pass
        return self._received.popleft() if self._received else None

    def poll_once(self) -> Iterator[Frame]:
        """The frames that have been read, and those that one more read gives; never waits. For an event loop, which asks again.

        Raises:
            ServerGone: The server closed the connection.
        """
        self._read(MSG_DONTWAIT)
        while self._received:
            yield self._received.popleft()

    def put_back(self, frame: Frame) -> None:
        """Leave a frame for the next ``receive``, before those already waiting."""
        self._received.appendleft(frame)

    def feed(self, data: bytes) -> None:
        """Take in bytes that somebody else has read from the connection."""
        self._received.extend(self._decoder.feed(data))

    def unread(self) -> bytes:
        """The frames that have come and were not received, for a successor on the same connection."""
        return b"".join([encode(frame) for frame in self._received])

    def _read(self, flags: int = 0) -> bool:
        """Take in what has come; whether anything had."""
        try:
            data = self._socket.recv(_READ_BYTES, flags)
        except BlockingIOError:
            return False
        except ConnectionError:
            data = b""
        if not data:
            raise ServerGone
        self._received.extend(self._decoder.feed(data))
        return True

    def send(self, frame: Frame) -> None:
        """Send a frame.

        Raises:
            ValueError: The frame cannot be encoded; nothing was sent.
            ServerGone: The server closed the connection.
        """
        data = encode(frame)
        with self._write_lock:
            self._write(data)

    def _write(self, data: bytes) -> None:
        # A signal handler may raise in here. Half a frame would garble all that follow, and a whole one must not go out twice, so
        # finish first. Handlers run between bytecodes: how much is out must be kept in the call that wrote it, not after it.
        written: List[int] = []
        interruption: Optional[BaseException] = None
        while True:
            try:
                while sum(written) < len(data):
                    left = memoryview(data)[sum(written) :] if written else data
                    written.extend(map(os.write, (self.descriptor,), (left,)))
                break
            except BaseException as error:
                if isinstance(error, OSError) and error.errno is not None:  # the write's; a handler's, TimeoutError say, has none
                    raise ServerGone from error
                interruption = error
        if interruption is not None:
            raise interruption
