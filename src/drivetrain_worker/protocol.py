"""The frame protocol between a model server and a worker: a length, then one JSON object.

This module is the worker's half of the codec; it is pure (bytes in, frames out). The server's half is
``drivetrain.serving.frames``: change one, change the other, and raise ``VERSION``.

    server → worker   load, setup, predict, predict_together, cancel, check_health, stop
    worker → server   hello, loaded, ready, broken, output, log, metric, completed, health

Standard output and error do not travel in frames but through one pipe that is the worker's file descriptors 1 and 2, so that what
native code and child processes write is captured too, in order, and survives a crash. Python-level writes mark in the pipe which
of the two streams follows (``MARK_STDOUT``, ``MARK_STDERR``).

Long texts are spared JSON. Those among the inputs of a prediction may follow the JSON of its frame, after a line feed, as they are
(``texts``: the name and the number of bytes of each); so may an output that is nothing but a text, up to the end of its frame.

Large frames of the server may come through an anonymous file that both share: the length then has its highest bit set, and what
follows are the place and the size of the frame there. The file's descriptor comes with the first of them, or before.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Callable, Dict, List

VERSION = 2

#: A frame beyond this is a mistake (a file returned as text, say), not something to allocate memory for.
MAXIMUM_FRAME_BYTES = 256 * 1024 * 1024

MARK_STDOUT = b"\x00\x01\x00"
MARK_STDERR = b"\x00\x02\x00"

_LENGTH = struct.Struct(">I")
_ELSEWHERE = 1 << 31
_PLACE = struct.Struct(">II")

#: Characters.
_LONG_TEXT = 10_000

#: Memory for frames: so much at first, more where a frame needs it, and up to so much is kept for the next.
_USUAL_BYTES = 64 * 1024
KEPT_BYTES = 4 * 1024 * 1024

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
    return b"".join(encode_pieces(frame))


def encode_pieces(frame: Frame) -> List[bytes]:
    """As ``encode``, in pieces: what is large is copied no oftener than it must be.

    Raises:
        FrameSizeError: It is over the limit.
        ValueError: It holds something that JSON cannot express.
    """
    # A lone surrogate has no UTF-8; it is replaced rather than allowed to make the whole frame unreadable.
    text = b""
    output = frame.get("output")
    if output is not None and output["value"].__class__ is str and len(output["value"]) > _LONG_TEXT:
        text = output["value"].encode("utf-8", "replace")
        frame = {**frame, "output": {"value": None}}
    payload = _encoder.encode(frame).encode("utf-8", "replace")
    size = len(payload) + len(text) + (1 if text else 0)
    if size > MAXIMUM_FRAME_BYTES:
        raise FrameSizeError(size)
    head = _LENGTH.pack(size) + payload
    return [head + b"\n", text] if text else [head]


def _read(memory: bytearray, start: int, stop: int) -> Frame:
    view = memoryview(memory)  # of which a piece is not copied
    end = memory.find(b"\n", start, stop)  # JSON itself holds none
    frame: Frame
    frame, _ = _decode(str(view[start : stop if end < 0 else end], "utf-8"))
    if end >= 0:
        start = end + 1
        for name, size in frame.pop("texts").items():
            frame["input"][name] = str(view[start : start + size], "utf-8")
            start += size
    return frame


def _nowhere(place: int, size: int) -> bytearray:
    raise ValueError("%d bytes are said to be at %d of a file that has not come" % (size, place))


class FrameDecoder:
    """Takes in bytes as they come and gives back whole frames.

    It has memory of its own to receive into, which is used again and again: what is allocated for each large frame would be
    mapped from the kernel anew each time, and that takes longer than to read the frame.

    Args:
        elsewhere: Takes a frame that has been put elsewhere, given its place and how many bytes; they begin what it returns.
    """

    def __init__(self, elsewhere: Callable[[int, int], bytearray] = _nowhere) -> None:
        self._memory = bytearray(_USUAL_BYTES)
        self._held = 0
        self._elsewhere = elsewhere

    def room(self) -> memoryview:
        """Where the next bytes are to be put; never empty, and valid until the next call of ``take`` or ``feed``."""
        return memoryview(self._memory)[self._held :]

    def take(self, count: int) -> List[Frame]:
        """So many bytes have been put into the room; return the frames that are complete now, oldest first."""
        memory = self._memory
        held = self._held + count
        frames: List[Frame] = []
        start = length = 0
        while held - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(memory, start)
            is_elsewhere, length = length & _ELSEWHERE, length & ~_ELSEWHERE
            end = start + _LENGTH.size + length
            if held < end:
                break
            if is_elsewhere:
                place, size = _PLACE.unpack_from(memory, start + _LENGTH.size)
                frames.append(_read(self._elsewhere(place, size), 0, size))
            else:
                frames.append(_read(memory, start + _LENGTH.size, end))
            start, length = end, 0
        self._keep(start, held, _LENGTH.size + length)
        return frames

    def feed(self, data: bytes) -> List[Frame]:
        """Add bytes that have been read elsewhere; return the frames that are complete now, oldest first."""
        frames: List[Frame] = []
        rest = memoryview(data)
        while rest:
            room = self.room()
            piece, rest = rest[: len(room)], rest[len(room) :]
            room[: len(piece)] = piece
            frames += self.take(len(piece))
        return frames

    def _keep(self, start: int, end: int, needed: int) -> None:
        """Keep what is left, the beginning of a frame that needs so many bytes, at the beginning of enough memory."""
        before = self._memory
        self._held = end - start
        if needed > len(before) or len(before) > KEPT_BYTES >= needed:
            self._memory = bytearray(max(needed, _USUAL_BYTES))
        if self._held and (start or self._memory is not before):
            self._memory[: self._held] = before[start:end]
