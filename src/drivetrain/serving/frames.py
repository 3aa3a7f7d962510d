"""The server's half of the frame protocol; pure: bytes in, frames out.

``drivetrain_worker.protocol`` is the worker's half and describes the protocol: change one, change the other.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from drivetrain.model.errors import BadRequest, InternalError
from drivetrain.model.prediction import MetricMode, Source, Status

VERSION = 2
MAXIMUM_FRAME_BYTES = 256 * 1024 * 1024

#: Frames beyond this should not go through the socket, if there is another way, and memory for them is kept up to a size.
_LARGE_BYTES = 64 * 1024
_KEPT_BYTES = 4 * 1024 * 1024

#: Characters.
_LONG_TEXT = 10_000

_LENGTH = struct.Struct(">I")
_ELSEWHERE = 1 << 31
_PLACE = struct.Struct(">II")

_LARGEST_BYTES = _ELSEWHERE - 1


class WireFile(msgspec.Struct, frozen=True):
    """A file inside an output value: where in the value, which file, under what name."""

    pointer: list[str | int]
    path: str
    name: str


class WireOutput(msgspec.Struct, frozen=True):
    """A JSON value with ``None`` at the places of its files."""

    value: Any
    files: list[WireFile] = []


class WireFailure(msgspec.Struct, frozen=True):
    """An exception of the author's code in words."""

    message: str
    kind: str
    traceback: str


class Hello(msgspec.Struct, tag="hello", frozen=True):
    """The worker's interpreter runs."""

    protocol: int
    python: str
    pid: int


class Loaded(msgspec.Struct, tag="loaded", frozen=True):
    """The author's module is imported; ``signature`` is in its wire form. ``batches``: it can run predictions together."""

    signature: dict[str, Any]
    batches: bool = False


class Ready(msgspec.Struct, tag="ready", frozen=True):
    """Set-up has succeeded. ``checks_health``: the model has a health check of its own."""

    checks_health: bool = False


class Imported(msgspec.Struct, tag="imported", frozen=True):
    """What the project imported until it was ready, and under which environment variables; a template does it ahead.

    Attributes:
        origin: ``fresh``; ``forked`` when a template had done the rest; ``afresh`` when what it had done was of no use.
        journal: ``["import", module, its file]`` and ``["set", variable, its value]``, in the order they happened.
        changes: What loading the project changed in the environment variables.
        paths: The directories that libraries were looked for in.
    """

    origin: str
    journal: list[tuple[str, str, str | None]]
    changes: dict[str, str | None]
    paths: list[str]


class Broken(msgspec.Struct, tag="broken", frozen=True):
    """Loading or set-up has failed; the worker ends."""

    stage: str
    failure: WireFailure


class OutputItem(msgspec.Struct, tag="output", frozen=True):
    """One item of an iterator."""

    id: str
    output: WireOutput


class LogText(msgspec.Struct, tag="log", frozen=True):
    """What a prediction wrote, where the pipe could not say which prediction it was."""

    id: str
    source: Source
    data: str


class MetricValue(msgspec.Struct, tag="metric", frozen=True):
    """A metric of a prediction."""

    id: str
    name: str
    value: Any
    mode: MetricMode


class PredictionCompleted(msgspec.Struct, tag="completed", frozen=True):
    """A prediction has ended and its slot is idle; ``output`` is its only result, if it was not an iterator."""

    id: str
    status: Status
    output: WireOutput | None = None
    failure: WireFailure | None = None


class HealthReport(msgspec.Struct, tag="health", frozen=True):
    """What the author's health check said."""

    healthy: bool
    message: str | None = None


Put: TypeAlias = Callable[[Sequence[bytes]], int | None]

WorkerFrame: TypeAlias = (
    Hello | Loaded | Ready | Imported | Broken | OutputItem | LogText | MetricValue | PredictionCompleted | HealthReport
)


class Load(msgspec.Struct, tag="load", frozen=True):
    """Import ``file`` under ``root`` and find ``name`` in it.

    Attributes:
        takes_lists: The inputs are those of several predictions, as lists.
        records: What is imported is to be reported.
    """

    root: str
    file: str
    name: str
    mode: str
    takes_lists: bool = False
    records: bool = False


class SetUp(msgspec.Struct, tag="setup", frozen=True):
    """Create the model and run its set-up."""

    concurrency: int


class Predict(msgspec.Struct, tag="predict", frozen=True, omit_defaults=True):
    """Run a prediction; output files go below ``directory``.

    Attributes:
        fetched: The paths in ``input`` that the server put there.
        texts: Inputs that are not in ``input`` but follow the frame's JSON as they are, and how many bytes each has.
    """

    id: str
    input: dict[str, Any]
    directory: str
    context: dict[str, str] = {}
    fetched: list[str] = []
    texts: dict[str, int] = {}


class PredictTogether(msgspec.Struct, tag="predict_together", frozen=True):
    """Run several predictions with one call; each is completed by a frame of its own."""

    predictions: list[Predict]


class Cancel(msgspec.Struct, tag="cancel", frozen=True):
    """Stop a prediction."""

    id: str


class CheckHealth(msgspec.Struct, tag="check_health", frozen=True):
    """Run the author's health check."""


class Stop(msgspec.Struct, tag="stop", frozen=True):
    """End when idle."""


ServerFrame: TypeAlias = Load | SetUp | Predict | PredictTogether | Cancel | CheckHealth | Stop

_decoder: msgspec.json.Decoder[WorkerFrame] = msgspec.json.Decoder(WorkerFrame)  # type: ignore[type-arg, unused-ignore]
_encoder = msgspec.json.Encoder()


def encode(frame: ServerFrame, put_elsewhere: Put | None = None) -> bytes:
    """Turn a frame into the bytes that carry it.

    Args:
        frame: What to send.
        put_elsewhere: Takes the pieces of a large frame, if it can, and returns their place, which is then all that the bytes say.

    Raises:
        BadRequest: It is longer than a length can say.
    """
    if frame.__class__ is Predict and (texts := _long_texts(frame.input)):
        rest = {name: value for name, value in frame.input.items() if name not in texts}
        sizes = {name: len(text) for name, text in texts.items()}
        head = _encoder.encode(msgspec.structs.replace(frame, input=rest, texts=sizes))
        pieces = [head, b"\n", *texts.values()]
    else:
        pieces = [_encoder.encode(frame)]
    size = sum(map(len, pieces))
    if size > _LARGEST_BYTES:
        raise BadRequest(
            f"the inputs take {size // 1_000_000:,} MB, and a model can be handed no more than 2,147; pass a file instead"
        )
    if size > _LARGE_BYTES and put_elsewhere is not None and (place := put_elsewhere(pieces)) is not None:
        return _LENGTH.pack(_PLACE.size | _ELSEWHERE) + _PLACE.pack(place, size)
    return b"".join([_LENGTH.pack(size), *pieces])


def _long_texts(values: dict[str, Any]) -> dict[str, bytes]:
    """Those that would take longer to write as JSON, and to read again, than all the rest of a prediction."""
    return {name: value.encode() for name, value in values.items() if value.__class__ is str and len(value) > _LONG_TEXT}


class FrameDecoder:
    """Collects bytes as they come and gives back whole frames.

    For a large frame it has memory that is used again and again, to be received into: memory that is allocated for each would be
    mapped from the kernel anew each time.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()  # the beginning of a frame
        self._memory = bytearray()
        self._held = 0  # of a large frame, in the memory
        self._needed = 0

    def room(self) -> memoryview | None:
        """Where what is missing of a large frame is to be put, if one has begun."""
        return memoryview(self._memory)[self._held : self._needed] if self._needed else None

    def take(self, count: int) -> list[WorkerFrame]:
        """So many bytes have been put into the room; return the frame if it is complete now.

        Raises:
            InternalError: As ``feed`` does.
        """
        self._held += count
        if self._held < self._needed:
            return []
        frames = [_decode(self._memory, _LENGTH.size, self._needed)]
        self._held = self._needed = 0
        if len(self._memory) > _KEPT_BYTES:
            self._memory = bytearray()
        return frames

    def feed(self, data: bytes) -> list[WorkerFrame]:
        """Add bytes; return the frames that are complete now, oldest first.

        Raises:
            InternalError: The bytes are not the protocol's. Nothing that follows can be trusted.
        """
        frames: list[WorkerFrame] = []
        room = self.room()
        if room is not None:
            piece, data = data[: len(room)], data[len(room) :]
            room[: len(piece)] = piece
            frames = self.take(len(piece))
        if self._buffer:
            data = bytes(self._buffer) + data
            self._buffer.clear()
        start, size = 0, len(data)
        while size - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data, start)
            if length > MAXIMUM_FRAME_BYTES:
                raise InternalError(f"a worker announced a frame of {length} bytes")
            end = start + _LENGTH.size + length
            if size < end:
                if length > _LARGE_BYTES:
                    self._begin_large(data[start:], _LENGTH.size + length)
                    start = size
                break
            frames.append(_decode(data, start + _LENGTH.size, end))
            start = end
        if start < size:
            self._buffer += data[start:]
        return frames

    def _begin_large(self, beginning: bytes, needed: int) -> None:
        if len(self._memory) < needed:
            self._memory = bytearray(needed)
        self._held, self._needed = len(beginning), needed
        self._memory[: self._held] = beginning


def _decode(memory: bytes | bytearray, start: int, stop: int) -> WorkerFrame:
    view = memoryview(memory)  # of which a piece is not copied
    end = memory.find(b"\n", start, stop) if stop - start > _LONG_TEXT else -1
    try:
        frame = _decoder.decode(view[start : stop if end < 0 else end])
        return frame if end < 0 else _with_text(frame, view[end + 1 : stop])
    except (ValueError, RecursionError) as error:  # of JSON, of the protocol, of UTF-8
        raise InternalError(f"a worker sent a frame that is not the protocol's: {error}") from error


def _with_text(frame: WorkerFrame, text: memoryview) -> WorkerFrame:
    if not isinstance(frame, OutputItem | PredictionCompleted) or frame.output is None:
        raise ValueError("a text follows what has no output")
    return msgspec.structs.replace(frame, output=WireOutput(value=str(text, "utf-8")))
