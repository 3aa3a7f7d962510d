"""One HTTP/1.1 connection to a runner, as the client: a request at a time, the body as it comes, no more in memory than need be.

Written for the way of every prediction: a request is one write, an answer wakes its reader once for all that came together.
(Measured: see ``benchmarks/runners.py``.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

import httptools

#: So much of a body may wait for its reader before the runner is made to wait.
_MOST_WAITING_BYTES = 1024 * 1024


class ConnectionBroken(Exception):  # noqa: N818 (what happened to it)
    """The connection was closed before the answer was whole.

    Args:
        was_answered: Whether some of the answer had come.
    """

    def __init__(self, *, was_answered: bool) -> None:
        super().__init__(was_answered)
        self.was_answered = was_answered


class Connection(asyncio.Protocol):
    """Owns a connection.

    Attributes:
        is_open: Whether another request can be sent once the answer to the last one has been read.
    """

    def __init__(self) -> None:
        self.is_open = False
        self.is_reused = False
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._status = 0
        self._chunks: list[bytes] = []
        self._waiting_bytes = 0
        self._is_whole = True
        self._is_paused = False
        self._news: asyncio.Future[None] | None = None

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """Send a request; its answer is to be read to the end before the next."""
        assert self._is_whole
        assert self._transport is not None
        self._is_whole = False
        self._status = 0
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"{method} {path} HTTP/1.1\r\nHost: runner\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode("latin-1") + body)

    async def status(self) -> int:
        """Wait for the answer's status.

        Raises:
            ConnectionBroken: None came.
        """
        while not self._status:
            await self._wait()
        return self._status

    async def read(self) -> bytes:
        """What has come of the body, at least a byte; empty at its end.

        Raises:
            ConnectionBroken: The rest will not come.
        """
        while not self._chunks:
            if self._is_whole:
                return b""
            await self._wait()
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._waiting_bytes = 0
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        return data

    async def read_all(self) -> bytes:
        """The body, of an answer that is known to be small.

        Raises:
            ConnectionBroken: It did not come whole.
        """
        chunks = []
        while chunk := await self.read():
            chunks.append(chunk)
        return b"".join(chunks)

    def close(self) -> None:
        """Break the connection, whatever is under way. May be called twice."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    @property
    def is_idle(self) -> bool:
        """Whether the next request can be sent now."""
        return self.is_open and self._is_whole and not self._chunks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Implements ``asyncio.Protocol``."""
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Implements ``asyncio.Protocol``."""
        self.is_open = False
        self._transport = None
        self._tell()

    def data_received(self, data: bytes) -> None:
        """Implements ``asyncio.Protocol``."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:  # not an answer that a model server gives
            self.close()
        if self._waiting_bytes > _MOST_WAITING_BYTES and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        self._tell()

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._chunks.append(body)
        self._waiting_bytes += len(body)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._is_whole = True
        self.is_reused = True
        if not self._parser.should_keep_alive():
            self.close()

    async def _wait(self) -> None:
        if not self.is_open:
            raise ConnectionBroken(was_answered=self._status != 0)
        self._news = self._loop.create_future()
        await self._news

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
