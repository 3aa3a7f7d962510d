"""Memory that a model server and a worker share, for frames that are too large for their socket.

A socket between two processes holds some 200 kB. A frame of a megabyte would go through it in five pieces, and before each the
worker would wait for the server's next turn, which may be busy with other megabytes.

The memory is a ring: the server puts frames behind each other, the worker takes them in the same order and counts them, and what it
has taken is free again. ``drivetrain_worker.protocol`` describes the worker's side. Both read and write it like a file, since a map
of it would count towards the address space that a model may have limited.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence

#: The worker counts here what it has taken, modulo 2**32; the frames come after.
_COUNTER_BYTES = 4
_BEGIN = 64

#: As much as there may be in use at a time. It takes room only where something has been put, beginning with the lowest places.
_BYTES = 64 * 1024 * 1024


class FrameMemory:
    """The server's side.

    Args:
        size: Bytes in all.

    Attributes:
        descriptor: For the other side.

    Raises:
        OSError: The system gives none.
    """

    def __init__(self, size: int = _BYTES) -> None:
        if not hasattr(os, "memfd_create"):
            raise OSError("this system has no anonymous files")
        self.descriptor = os.memfd_create("drivetrain-frames")
        self._size = size
        self._places: deque[tuple[int, int]] = deque()  # where what has not been taken begins and ends, oldest first
        self._taken = 0

    def put(self, pieces: Sequence[bytes]) -> int | None:
        """Put a frame there; its place, or ``None`` if there is no room now."""
        size = sum(map(len, pieces))
        self._forget_taken()
        place = self._room(size)
        try:
            if place is None or os.pwritev(self.descriptor, pieces, place) < size:
                return None
        except OSError:
            return None
        self._places.append((place, place + size))
        return place

    def close(self) -> None:
        """Let go of it. The other side may still have it."""
        os.close(self.descriptor)

    def _forget_taken(self) -> None:
        if self._places:
            counted = int.from_bytes(os.pread(self.descriptor, _COUNTER_BYTES, 0), "little")
            while self._places and self._taken != counted:  # a worker that counts wrong harms itself alone
                self._places.popleft()
                self._taken = (self._taken + 1) % 2**32

    def _room(self, size: int) -> int | None:
        if not self._places:
            return _BEGIN if size <= self._size - _BEGIN else None
        first, last = self._places[0][0], self._places[-1][1]
        if last <= first:  # it has gone round; between the two is what is left
            return last if size <= first - last else None
        if size <= self._size - last:
            return last
        return _BEGIN if size <= first - _BEGIN else None
