"""Send content to a registry, in pieces that survive a cut.

A small blob goes in one request. A large one goes in chunks to an upload session; when one fails, the registry is asked how much it
has, and sending goes on from there. The session is noted on disk, so that another process can go on with it too.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import msgspec

from drivetrain.images.descriptor import Descriptor
from drivetrain.images.reference import Reference
from drivetrain.images.registry.client import Registry, push_scope
from drivetrain.images.registry.connection import Response, joined
from drivetrain.images.registry.retry import Exhausted, Passing, retrying
from drivetrain.model.errors import OutsideFailed

_BLOCK = 256 * 1024
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")

#: Where a registry has a limit for pieces, these headers of its first answer say so.
_LEAST, _MOST = "OCI-Chunk-Min-Length", "OCI-Chunk-Max-Length"

#: Statuses with which registries refuse pieces altogether, or one that does not go on where the last one ended.
_NO_CHUNKS = frozenset({400, 404, 405, 413, 416, 501})


class Sessions:
    """Uploads that have begun, by what is uploaded where. This one forgets them when the process ends."""

    def __init__(self) -> None:
        self._open: dict[str, str] = {}

    def get(self, key: str) -> str | None:
        """The URL to go on with."""
        return self._open.get(key)

    def set(self, key: str, url: str | None) -> None:
        """Note where to go on, or that there is nothing to go on with."""
        if url is None:
            self._open.pop(key, None)
        else:
            self._open[key] = url


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """Something to send.

    Attributes:
        registry: Where to.
        reference: The repository there.
        descriptor: What it is.
        file: Where its bytes are.
        sessions: Where uploads that have begun are noted.
        sent: Called with the number of bytes that went out; a negative number takes some back.
    """

    registry: Registry
    reference: Reference
    descriptor: Descriptor
    file: Path
    sessions: Sessions
    sent: Callable[[int], None] = lambda _: None

    def mount(self, mount_from: str | None) -> bool:
        """Whether the registry has it, or takes it from another of its repositories, so that no bytes are needed."""
        if self.registry.has_blob(self.reference, self.descriptor, scope=push_scope(self.reference)):
            return True
        try:
            return retrying(self.registry.options.retry, lambda: self._begin(mount_from)) is None
        except Exhausted as error:
            raise self.registry.unreachable(error) from error

    def send(self, mount_from: str | None = None) -> bool:
        """Send it, unless it is there already.

        Args:
            mount_from: A repository of the same registry that may have it.

        Returns:
            Whether bytes had to be sent.

        Raises:
            OutsideFailed: The registry goes on to fail. What it has got, it keeps for a later attempt.
        """
        if self.registry.has_blob(self.reference, self.descriptor, scope=push_scope(self.reference)):
            return False
        reached = [0]
        try:
            return retrying(self.registry.options.retry, lambda: self._attempt(mount_from, reached), lambda: reached[0])
        except Exhausted as error:
            raise self.registry.unreachable(error) from error

    @property
    def _key(self) -> str:
        return f"{self.reference.name}@{self.descriptor.digest}"

    def _attempt(self, mount_from: str | None, reached: list[int]) -> bool:
        session = self._resume()
        if session is None:
            session = self._begin(mount_from)
        if session is None:
            return False
        if self.descriptor.size <= self.registry.options.monolithic_bytes and session.offset == 0:
            self._finish(session.url, begin=0)
            return True
        self._send_chunks(session, reached)
        return True

    def _resume(self) -> _Session | None:
        """The session that an earlier attempt has left, if the registry still knows it."""
        url = self.sessions.get(self._key)
        if url is None:
            return None
        with self.registry.request("GET", url, scope=push_scope(self.reference), again=False) as response:
            if response.status != HTTPStatus.NO_CONTENT:
                self.sessions.set(self._key, None)
                return None
            return self._session(response, offset=_end(response))

    def _begin(self, mount_from: str | None) -> _Session | None:
        path = f"/v2/{self.reference.repository}/blobs/uploads/"
        if mount_from is not None:
            path += f"?mount={self.descriptor.digest}&from={mount_from}"
        headers = {"Content-Length": "0"}
        with self.registry.request("POST", path, scope=self._scope(mount_from), headers=headers, again=False) as response:
            if response.status == HTTPStatus.CREATED:
                return None  # mounted: it was there, in the other repository
            if response.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) and mount_from is not None:
                return self._begin(None)  # the other repository may be one that this user must not read
            if response.status != HTTPStatus.ACCEPTED:
                raise self.registry.failure(response, f"'{self.reference.name}'")
            return self._session(response, offset=0)

    def _scope(self, mount_from: str | None) -> str:
        own = push_scope(self.reference)
        return f"{own} repository:{mount_from}:pull" if mount_from is not None else own

    def _session(self, response: Response, *, offset: int) -> _Session:
        location = response.headers.get("location")
        if not location:
            raise OutsideFailed(f"the registry '{self.registry.name}' does not say where to send content to")
        url = joined(response.url, location)
        self.sessions.set(self._key, url)
        least, most = (int(text) if (text := response.headers.get(name, "")).isdecimal() else 0 for name in (_LEAST, _MOST))
        return _Session(url=url, offset=offset, least=least, most=most)

    def _send_chunks(self, session: _Session, reached: list[int]) -> None:
        size = min(max(self.registry.options.chunk_bytes, session.least), session.most or self.descriptor.size)
        size = max(size, 1)
        url, offset = session.url, session.offset
        while offset < self.descriptor.size:
            end = min(offset + size, self.descriptor.size)
            answer = self._send_chunk(url, offset, end)
            if answer is None:
                self._start_over()
                whole = self._begin(None)
                if whole is not None:
                    self._finish(whole.url, begin=0)
                return
            url, offset = answer
            reached[0] = max(reached[0], offset)
        self._finish(url, begin=self.descriptor.size)

    def _send_chunk(self, url: str, begin: int, end: int) -> tuple[str, int] | None:
        """Where to go on; ``None`` where the registry takes content in one piece only."""
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Range": f"{begin}-{end - 1}",
            "Content-Length": str(end - begin),
        }
        with self._counted(begin, end) as body, self._sending("PATCH", url, headers, body) as response:
            if response.status in _NO_CHUNKS:
                return None
            if not response.is_success:
                raise self.registry.failure(response, f"'{self.reference.name}'")
            reached = _end(response, default=end)
            if not begin < reached <= end:
                raise Passing(f"it acknowledged {reached} bytes where {end} were sent")
            body.settle(reached - begin)
            return self._session(response, offset=reached).url, reached

    def _finish(self, url: str, *, begin: int) -> None:
        """The last request, with the rest of the bytes."""
        size = self.descriptor.size
        target = f"{url}{'&' if urlsplit(url).query else '?'}{urlencode({'digest': self.descriptor.digest})}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size - begin)}
        with self._counted(begin, size) as body, self._sending("PUT", target, headers, body) as response:
            if not response.is_success:
                self._start_over()
                if response.status in (HTTPStatus.NOT_FOUND, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
                    raise Passing(f"it has lost an upload ({response.status})")
                raise self.registry.failure(response, f"'{self.reference.name}'")
            body.settle(size - begin)
        self._start_over()

    def _start_over(self) -> None:
        self.sessions.set(self._key, None)

    def _sending(self, method: str, url: str, headers: dict[str, str], body: _Body) -> contextlib.AbstractContextManager[Response]:
        scope = push_scope(self.reference)
        return self.registry.request(method, url, scope=scope, headers=headers, content=body.blocks, again=False)

    def _counted(self, begin: int, end: int) -> _Body:
        return _Body(self.file, begin, end, self.sent)


class _Session(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    offset: int
    least: int
    most: int


class _Body:
    """A part of a file as the body of a request; what was told as sent and did not arrive is taken back."""

    def __init__(self, file: Path, begin: int, end: int, sent: Callable[[int], None]) -> None:
        self._file = file
        self._begin = begin
        self._end = end
        self._sent = sent
        self._told = 0

    def __enter__(self) -> _Body:
        return self

    def __exit__(self, *_: object) -> None:
        self._tell(-self._told)

    def blocks(self) -> Iterator[bytes]:
        """The bytes; from the beginning each time, since a request may have to be sent again with a token."""
        self._tell(-self._told)
        with self._file.open("rb") as file:
            file.seek(self._begin)
            left = self._end - self._begin
            while left > 0:
                block = file.read(min(_BLOCK, left))
                if not block:
                    raise OutsideFailed(f"'{self._file}' ended before its end")
                left -= len(block)
                yield block
                self._tell(len(block))

    def settle(self, size: int) -> None:
        """So many bytes arrived."""
        self._tell(size - self._told)
        self._told = 0

    def _tell(self, size: int) -> None:
        self._told += size
        if size:
            self._sent(size)


def _end(response: Response, default: int = 0) -> int:
    """How many bytes the registry has, by its ``Range`` header, which names the last of them.

    An upload without a byte is ``0-0``, as one with a single byte is. Nobody sends single bytes.
    """
    match = _RANGE.fullmatch(response.headers.get("range", ""))
    if match is None:
        return default
    last = int(match[1])
    return last + 1 if last or default == 1 else 0
