"""A prediction as Cog's API shows it: all fields of the older server's response object, whichever way it is asked for.

Output files are shown as data URLs. Small ones are read in the event loop; handing them to a thread would cost more. Large ones are
read in threads: for an answer piece by piece while it is sent (``SizedBody``), so that it never is in memory as a whole; for all
else beforehand (``load_files``). Either way their URLs are not encoded once more.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from drivetrain.model.json_value import put_in
from drivetrain.model.prediction import OutputFile, OutputValue, Prediction, Status
from drivetrain.serving.media_type import guess_type

_SMALL_FILE_BYTES = 64 * 1024

#: So much of a file is encoded at once: little enough for memory, and a processor's cache, that is used again and again. A multiple
#: of three, so that no piece but the last needs padding.
_PIECE_BYTES = 3 * 64 * 1024

#: Read only what needs no waiting for a disk; where the kernel can tell.
_WITHOUT_WAITING: int | None = getattr(os, "RWF_NOWAIT", None)

_LIST_START = b'{"results":['
_LIST_END = b"]}"

_encode = msgspec.json.Encoder().encode

#: The data URLs of files, each in the form of JSON.
DataUrls: TypeAlias = Mapping[OutputFile, msgspec.Raw]


async def render_prediction(prediction: Prediction) -> dict[str, Any]:
    """The response object."""
    files: dict[OutputFile, msgspec.Raw] = {}
    while missing := large_files(prediction.outputs, files):  # more may come while these are read
        files |= await load_files(missing)
    return render_at_once(prediction, files)


def render_at_once(prediction: Prediction, files: DataUrls) -> dict[str, Any]:
    """The response object, where the large files have been loaded."""
    metrics: dict[str, Any] = dict(prediction.metrics)
    if (seconds := prediction.predict_seconds) is not None:
        metrics["predict_time"] = seconds
    return {
        "id": prediction.id,
        "version": None,
        "status": prediction.status,
        "input": prediction.input,
        "output": _render_output(prediction, files),
        "error": prediction.failure.message if prediction.failure else None,
        "logs": prediction.logs,
        "metrics": metrics,
        "created_at": _render_time(prediction.created_at),
        "started_at": _render_time(prediction.started_at),
        "completed_at": _render_time(prediction.completed_at),
    }


class SizedBody:
    """The response object as bytes whose length is known, and of which only what is being sent is in memory.

    Args:
        prediction: What to show; what its large files hold is read when it is sent.
        additions: Further members.
    """

    def __init__(self, prediction: Prediction, additions: Mapping[str, Any]) -> None:
        large = large_files(prediction.outputs, {})
        marks = {file: os.urandom(16).hex().encode() for file in large}
        body = _encode({**render_at_once(prediction, {file: msgspec.Raw(b'"%s"' % marks[file]) for file in large}), **additions})
        self._parts: list[tuple[bytes, OutputFile | None]] = []
        for file in sorted(large, key=lambda each: body.index(marks[each])):
            before, _, body = body.partition(marks[file])
            self._parts.append((before + _data_url_head(file), file))
        self._parts.append((body, None))
        self.length = sum(len(text) + (_encoded_length(file) if file is not None else 0) for text, file in self._parts)

    async def pieces(self) -> AsyncIterator[bytes]:
        """All of it, in order."""
        import pybase64

        for text, file in self._parts:
            yield text
            if file is not None:
                with file.path.open("rb", buffering=0) as content:
                    async for piece in _file_pieces(content.fileno()):
                        yield pybase64.b64encode(piece)


class SizedList:
    """Several response objects as one, in the same way.

    Args:
        bodies: The response objects.
    """

    def __init__(self, bodies: Sequence[SizedBody]) -> None:
        self._bodies = bodies
        commas = max(0, len(bodies) - 1)
        self.length = len(_LIST_START) + sum(body.length for body in bodies) + commas + len(_LIST_END)

    async def pieces(self) -> AsyncIterator[bytes]:
        """All of it, in order."""
        yield _LIST_START
        for number, body in enumerate(self._bodies):
            if number:
                yield b","
            async for piece in body.pieces():
                yield piece
        yield _LIST_END


def render_ending(prediction: Prediction, _files: DataUrls) -> dict[str, Any]:
    """How a prediction ended, for whoever has followed its events and need not be told them again."""
    failure = prediction.failure
    return {
        "id": prediction.id,
        "status": prediction.status,
        "error": failure.message if failure else None,
        "traceback": failure.traceback if failure else None,
        "worker_lost": failure.worker_lost if failure else False,
        "started_at": _render_time(prediction.started_at),
        "completed_at": _render_time(prediction.completed_at),
    }


def render_value(output: OutputValue, files: DataUrls) -> Any:
    """A JSON value with its files as data URLs."""
    if not output.files:
        return output.value
    return put_in(output.value, {file.pointer: files.get(file) or _data_url(file) for file in output.files})


def large_files(outputs: Iterable[OutputValue], known: DataUrls) -> list[OutputFile]:
    """The files that must be loaded before they can be shown, without those that are known."""
    return [file for output in outputs for file in output.files if file not in known and _is_large(file)]


async def load_files(files: Iterable[OutputFile]) -> dict[OutputFile, msgspec.Raw]:
    """Read and encode files in threads."""
    return {file: await asyncio.to_thread(_data_url, file) for file in files}


def _is_large(file: OutputFile) -> bool:
    return file.path.stat().st_size > _SMALL_FILE_BYTES


def _render_output(prediction: Prediction, files: DataUrls) -> Any:
    outputs = prediction.outputs
    if prediction.streams:
        if not outputs and prediction.status is not Status.SUCCEEDED:
            return None
        return [render_value(output, files) for output in outputs]
    if prediction.status is Status.CANCELED or not outputs:
        return None
    return render_value(outputs[-1], files)


def _data_url(file: OutputFile) -> msgspec.Raw:
    import pybase64  # takes longer to import than a small server may take to start

    return msgspec.Raw(b'"%s%s"' % (_data_url_head(file), pybase64.b64encode(file.path.read_bytes())))


def _data_url_head(file: OutputFile) -> bytes:
    return b"data:%s;base64," % guess_type(file.name).encode()


def _encoded_length(file: OutputFile) -> int:
    return (file.path.stat().st_size + 2) // 3 * 4


async def _file_pieces(descriptor: int) -> AsyncIterator[memoryview]:
    """A file's content, each piece but the last a multiple of three bytes long; a piece is what it is until the next one."""
    buffer = memoryview(bytearray(_PIECE_BYTES))
    offset = 0
    while True:
        # A model's file has just been written and is in memory, and to ask a thread for it would take longer than to read it.
        count = _read_at_once(descriptor, buffer, offset)
        if count < _PIECE_BYTES:
            count = await asyncio.to_thread(_read_whole, descriptor, buffer, offset)
        if count:
            yield buffer[:count]
        if count < _PIECE_BYTES:
            return
        offset += count


def _read_at_once(descriptor: int, buffer: memoryview, offset: int) -> int:
    if _WITHOUT_WAITING is None:
        return 0
    try:
        return os.preadv(descriptor, [buffer], offset, _WITHOUT_WAITING)
    except OSError:  # it would have to wait, or this file system cannot tell
        return 0


def _read_whole(descriptor: int, buffer: memoryview, offset: int) -> int:
    """Fill the buffer, or what the file has left of it."""
    count = 0
    while count < len(buffer) and (more := os.preadv(descriptor, [buffer[count:]], offset + count)):
        count += more
    return count


def _render_time(at: datetime | None) -> msgspec.Raw | None:
    """In ISO 8601 as Python writes it, which older Pythons than those that know ``Z`` can read; several times as fast."""
    if at is None:
        return None
    text = _encode(at)
    return msgspec.Raw(text[:-2] + b'+00:00"' if text.endswith(b'Z"') else text)
