"""The worker's end of the socket to its model server: whole frames in and out, from any thread."""

from __future__ import annotations

import os
import struct
from _socket import CMSG_SPACE, MSG_DONTWAIT, socket  # the module around it is slow to import, and adds nothing that is needed here
from _thread import allocate_lock
from collections import deque
from typing import Deque, Iterator, List, Optional

from drivetrain_worker.protocol import KEPT_BYTES, Frame, FrameDecoder, encode, encode_pieces

_COUNTER = struct.Struct("<I")
_DESCRIPTOR = struct.Struct("i")
_ONE_DESCRIPTOR = CMSG_SPACE(_DESCRIPTOR.size)


class ServerGone(Exception):  # noqa: N818 (a fact about the other side, not a failure of ours)
    """The model server closed its end; the worker has no reason to live on."""


class FrameMemory:
    """The worker's side of what ``drivetrain.serving.frame_memory`` describes: change one, change the other.

    Attributes:
        descriptor: The file's, once it has come.
    """

    def __init__(self) -> None:
        self.descriptor = -1
        self._taken = 0
        self._spare = bytearray()  # used again and again, for the same reason as the decoder's

    def take(self, place: int, size: int) -> bytearray:
        """Take a frame, and say so; it is at the beginning of what is returned."""
        memory = self._spare if size <= len(self._spare) else bytearray(size)
        if len(self._spare) < size <= KEPT_BYTES:
            self._spare = memory
        read = 0
        while read < size:
            read += os.preadv(self.descriptor, (memoryview(memory)[read:size],), place + read)
        self._taken = (self._taken + 1) % 2**32
        os.pwrite(self.descriptor, _COUNTER.pack(self._taken), 0)
        return memory


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
        self._memory = FrameMemory()
        self._decoder = FrameDecoder(self._memory.take)
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
            count, ancillary, _, _ = self._socket.recvmsg_into([self._decoder.room()], _ONE_DESCRIPTOR, flags)
        except BlockingIOError:
            return False
        except ConnectionError:
            count = 0
        if not count:
            raise ServerGone
        if ancillary:
            (self._memory.descriptor,) = _DESCRIPTOR.unpack(ancillary[0][2])
            os.set_inheritable(self._memory.descriptor, False)
        self._received.extend(self._decoder.take(count))
        return True

    def send(self, frame: Frame) -> None:
        """Send a frame.

        Raises:
            ValueError: The frame cannot be encoded; nothing was sent.
            ServerGone: The server closed the connection.
        """
        pieces = encode_pieces(frame)
        with self._write_lock:
            self._write(pieces)

    def _write(self, pieces: List[bytes]) -> None:
        # A signal handler may raise in here. Half a frame would garble all that follow, and a whole one must not go out twice, so
        # finish first. Handlers run between bytecodes: how much is out must be kept in the call that wrote it, not after it.
        size = sum(map(len, pieces))
        written: List[int] = []
        interruption: Optional[BaseException] = None
        while True:
            try:
                while sum(written) < size:
                    left = _after(pieces, sum(written)) if written else pieces
                    written.extend(map(os.writev, (self.descriptor,), (left,)))
                break
            except BaseException as error:
                if isinstance(error, OSError) and error.errno is not None:  # the write's; a handler's, TimeoutError say, has none
                    raise ServerGone from error
                interruption = error
        if interruption is not None:
            raise interruption


def _after(pieces: List[bytes], count: int) -> List[memoryview]:
    """What comes after so many bytes."""
    left = []
    for piece in pieces:
        left.append(memoryview(piece)[count:])
        count = max(0, count - len(piece))
    return left
