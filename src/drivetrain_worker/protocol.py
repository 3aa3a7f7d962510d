"""The frame protocol between a model server and a worker: a length, then one JSON object.

This module is the worker's half of the codec; it is pure (bytes in, frames out). The server's half is
``drivetrain.serving.frames``: change one, change the other, and raise ``VERSION``.

    server → worker   load, setup, predict, predict_together, cancel, check_health, stop
    worker → server   hello, loaded, ready, broken, output, log, metric, completed, health

Standard output and error do not travel in frames but through one pipe that is the worker's file descriptors 1 and 2, so that what
native code and child processes write is captured too, in order, and survives a crash. Python-level writes mark in the pipe which
of the two streams follows (``MARK_STDOUT``, ``MARK_STDERR``).
"""

from __future__ import annotations

import json
import struct
from typing import Any, Dict, List

VERSION = 1

#: A frame beyond this is a mistake (a file returned as text, say), not something to allocate memory for.
MAXIMUM_FRAME_BYTES = 256 * 1024 * 1024

MARK_STDOUT = b"\x00\x01\x00"
MARK_STDERR = b"\x00\x02\x00"

_LENGTH = struct.Struct(">I")

Frame = Dict[str, Any]


class FrameSizeError(ValueError):
    """A value is too large to travel in a frame."""

    def __init__(self, size: int) -> None:
        super().__init__(
            "a value of %d MB is too large to hand over (the limit is %d MB); write it to a file and return its Path instead"
            % (size // 1_000_000, MAXIMUM_FRAME_BYTES // 1_000_000)
        )


_decode = json.JSONDecoder().raw_decode  # what the server sends is UTF-8 without space around it, and need not be looked for

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode(frame: Frame) -> bytes:
    """Turn a frame into the bytes that carry it.

    Raises:
        FrameSizeError: It is over the limit.
        ValueError: It holds something that JSON cannot express.
    """
    # A lone surrogate has no UTF-8; it is replaced rather than allowed to make the whole frame unreadable.
    payload = _encoder.encode(frame).encode("utf-8", "replace")
    if len(payload) > MAXIMUM_FRAME_BYTES:
        raise FrameSizeError(len(payload))
    return _LENGTH.pack(len(payload)) + payload


class FrameDecoder:
    """Collects bytes as they come and gives back whole frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> List[Frame]:
        """Add bytes; return the frames that are complete now, oldest first."""
        buffer = self._buffer
        buffer += data
        frames: List[Frame] = []
        start = 0
        while len(buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, start)
            end = start + _LENGTH.size + length
            if len(buffer) < end:
                break
            frames.append(_decode(buffer[start + _LENGTH.size : end].decode())[0])
            start = end
        if start:
            del buffer[:start]
        return frames
