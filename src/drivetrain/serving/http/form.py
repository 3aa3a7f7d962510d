"""Inputs as a form: texts by name, files streamed to disk as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from drivetrain.model.inputs import LocalFile
from drivetrain.serving.http.exchange import Exchange, HttpError
from drivetrain.serving.input_files import shorten

if TYPE_CHECKING:
    from multipart import MultipartSegment, PushMultipartParser

#: More parts than any model has inputs are an attack, or a mistake.
_LARGEST_COUNT = 1000
_LARGEST_TEXT_BYTES = 8 * 1024 * 1024


def is_form(exchange: Exchange) -> bool:
    """Whether a request's body is a form with parts."""
    return exchange.header(b"content-type").partition(";")[0].strip().lower() == "multipart/form-data"


class Form:
    """A form being read. Owns a directory with the files in it.

    Args:
        directory: Made when the first file comes.
    """

    def __init__(self, directory: Path) -> None:
        self.texts: dict[str, list[str | LocalFile]] = {}
        self._directory = directory
        self._count = 0

    async def read(self, exchange: Exchange) -> None:
        """Read the whole body.

        Raises:
            HttpError: It is not a form, or too large.
        """
        from multipart import MultipartError, PushMultipartParser, parse_options_header  # most servers never see a form

        _, options = parse_options_header(exchange.header(b"content-type"))
        boundary = options.get("boundary")
        if not boundary:
            raise HttpError(400, "the form has no boundary in its Content-Type header")
        try:
            with PushMultipartParser(boundary, max_segment_count=_LARGEST_COUNT) as parser:
                await self._read_parts(parser, exchange.body_chunks())
        except (MultipartError, UnicodeDecodeError, ValueError) as error:
            raise HttpError(400, f"the body is not a form: {error}") from error
        except OSError as error:
            raise HttpError(507, f"a file of the form cannot be stored: {error.strerror or error}") from error

    def discard(self) -> None:
        """Delete the files. May be called twice."""
        import shutil  # as above

        shutil.rmtree(self._directory, ignore_errors=True)

    async def _read_parts(self, parser: PushMultipartParser, chunks: AsyncIterator[bytes]) -> None:
        from multipart import MultipartSegment

        part: _Part | None = None
        async for chunk in chunks:
            for item in parser.parse(chunk):
                if isinstance(item, MultipartSegment):
                    part = self._open(item)
                elif part is None:
                    raise HttpError(400, "the body is not a form: content outside of any part")
                elif item:
                    await part.write(item)
                else:
                    self.texts.setdefault(part.name, []).append(part.close())

    def _open(self, segment: MultipartSegment) -> _Part:
        if segment.filename is None:
            return _Part(segment.name, None)
        self._count += 1  # a directory for each, so that names stay as they were
        directory = self._directory / str(self._count)
        directory.mkdir(parents=True)
        return _Part(segment.name, directory / _safe_name(segment.filename))


class _Part:
    def __init__(self, name: str, path: Path | None) -> None:
        self.name = name
        self._path = path
        self._file: BinaryIO | None = path.open("wb", buffering=0) if path is not None else None
        self._text = bytearray()

    async def write(self, data: bytes | bytearray) -> None:
        if self._file is not None:
            await asyncio.to_thread(_write_all, self._file, data)
            return
        self._text += data
        if len(self._text) > _LARGEST_TEXT_BYTES:
            raise HttpError(413, f"the value of '{self.name}' is too large for a text; send it as a file")

    def close(self) -> str | LocalFile:
        if self._file is None:
            return self._text.decode()
        self._file.close()
        return LocalFile(str(self._path))


def _write_all(file: BinaryIO, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _safe_name(name: str) -> str:
    """The last part of the name that the client gave, as some browsers send whole paths."""
    last = PurePosixPath(name.replace("\\", "/").replace("\0", "")).name
    return shorten(last) if last not in ("", ".", "..") else "file"
