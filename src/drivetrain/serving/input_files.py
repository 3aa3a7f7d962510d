"""Bring the files that inputs name into a prediction's directory: decode data URLs, download, copy local files."""

from __future__ import annotations

import asyncio
import base64
import binascii
import urllib.parse
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from drivetrain.model.errors import BadRequest, OutsideFailed
from drivetrain.model.examination import write_location
from drivetrain.model.inputs import FilePlace
from drivetrain.serving.media_type import guess_suffix
from drivetrain.serving.outgoing import Reach

if TYPE_CHECKING:
    import httpx

_Source = TypeVar("_Source", str, Path)

_CONCURRENT_DOWNLOADS = 8

#: Longest file name most file systems take is 255 bytes; Cog cuts at 200, and models may append to it.
_NAME_BYTES = 200


class InputFileLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a download may cost.

    Attributes:
        size: Bytes in one file.
        time: From the first request to the last byte of one file.
        redirects: Hops of one download.
        reach: Where may be downloaded from.
    """

    size: int = 16 * 1024**3
    time: timedelta = timedelta(minutes=30)
    redirects: int = 10
    reach: Reach = msgspec.field(default_factory=Reach)


class InputFiles:
    """Fetches files; keeps connections open between predictions.

    Args:
        limits: What a download may cost.
    """

    def __init__(self, limits: InputFileLimits) -> None:
        self._limits = limits
        self._client: httpx.AsyncClient | None = None
        self._permits = asyncio.Semaphore(_CONCURRENT_DOWNLOADS)

    async def fetch(self, places: Sequence[FilePlace], directory: Path) -> dict[FilePlace, str]:
        """Bring every file; each gets a directory of its own, so that names stay as they were.

        Returns:
            The local path for each place.

        Raises:
            BadRequest: A URL cannot be used.
            OutsideFailed: A download or a write failed.
        """
        targets = {place: directory / str(number) for number, place in enumerate(places)}
        fetches = [asyncio.ensure_future(self._fetch_one(place, target)) for place, target in targets.items()]
        try:
            paths = await asyncio.gather(*fetches)
        except BaseException:
            for fetch in fetches:
                fetch.cancel()
            await asyncio.gather(*fetches, return_exceptions=True)
            raise
        return dict(zip(targets, map(str, paths), strict=True))

    async def aclose(self) -> None:
        """Close the connections. May be called twice."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _fetch_one(self, place: FilePlace, directory: Path) -> Path:
        try:
            if place.is_local:
                return await _in_thread(_copy, Path(place.value), directory)
            if place.value[:5].lower() == "data:":
                return await _in_thread(_decode, place.value, directory)
            async with self._permits:
                return await self._download(place.value, directory)
        except OSError as error:
            name = write_location(place.pointer)
            raise OutsideFailed(f"cannot store the file for input '{name}': {error.strerror or error}") from error

    async def _download(self, url: str, directory: Path) -> Path:
        import anyio
        import httpx

        try:
            path = _make_place(directory, _name_of_url(url))
            with anyio.fail_after(self._limits.time.total_seconds()):  # asyncio.timeout needs Python 3.11
                async with self._connected().stream("GET", url) as response:
                    response.raise_for_status()
                    await self._store(response, path, url)
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            raise OutsideFailed(f"cannot download '{url}': the server answered {status} {error.response.reason_phrase}") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError) as error:  # ValueError: a host that is no name
            raise BadRequest(f"'{url}' is not a URL that can be downloaded: {error}") from error
        except httpx.HTTPError as error:
            raise OutsideFailed(f"cannot download '{url}': {str(error) or type(error).__name__}") from error
        except TimeoutError as error:
            raise OutsideFailed(f"cannot download '{url}': it took longer than {self._limits.time}") from error
        return path

    async def _store(self, response: httpx.Response, path: Path, url: str) -> None:
        size = 0
        with path.open("wb") as file:
            async for chunk in response.aiter_bytes(1024 * 1024):
                size += len(chunk)
                if size > self._limits.size:
                    raise BadRequest(f"cannot download '{url}': it is larger than the limit of {self._limits.size} bytes")
                await asyncio.to_thread(file.write, chunk)

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            from drivetrain.serving.client import make_client

            self._client = make_client(self._limits.reach, redirects=self._limits.redirects)
        return self._client


async def _in_thread(write: Callable[[_Source, Path], Path], source: _Source, directory: Path) -> Path:
    """Let a thread write a file. It cannot be stopped, so a cancelation waits for it: nothing is written after that."""
    writing = asyncio.ensure_future(asyncio.to_thread(write, source, directory))
    try:
        return await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait({writing})
        raise


def _make_place(directory: Path, name: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory / name


def _copy(source: Path, directory: Path) -> Path:
    import shutil  # takes milliseconds, and few servers ever need it

    # A copy, since models move, unlink and overwrite their inputs.
    return Path(shutil.copyfile(source, _make_place(directory, source.name)))


def _decode(url: str, directory: Path) -> Path:
    header, comma, payload = url[5:].partition(",")
    if not comma:
        raise BadRequest("a data URL has no comma between its type and its content")
    media_type, *parameters = header.split(";")
    path = _make_place(directory, "file" + guess_suffix(media_type or "text/plain"))
    path.write_bytes(_payload(payload, is_base64="base64" in (parameter.strip().lower() for parameter in parameters)))
    return path


def _payload(payload: str, *, is_base64: bool) -> bytes:
    raw = urllib.parse.unquote_to_bytes(payload)
    if not is_base64:
        return raw
    try:
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
    except binascii.Error as error:
        raise BadRequest(f"a data URL's content is not base64: {error}") from error


def _name_of_url(url: str) -> str:
    """The unquoted last part of the URL's path, made safe as a file name and kept short with its suffix."""
    name = urllib.parse.unquote(urllib.parse.urlsplit(url).path).rpartition("/")[2].replace("\0", "")
    if name in ("", ".", ".."):
        return "file"
    return shorten(name)


def shorten(name: str) -> str:
    """Cut a file name to the bytes it may have, keeping its suffix and marking the cut with ``~``."""
    if len(name.encode()) <= _NAME_BYTES:
        return name
    stem, dot, suffix = name.rpartition(".")
    if not dot or len(suffix.encode()) > 20:
        stem, suffix = name, ""
    room = _NAME_BYTES - len((dot + suffix).encode() if suffix else b"") - 1
    return stem.encode()[:room].decode(errors="ignore") + "~" + (dot + suffix if suffix else "")
