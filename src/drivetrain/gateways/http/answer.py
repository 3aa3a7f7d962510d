"""Answers: JSON, and streams that stop when nobody reads them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode

#: What buffering proxies and browsers must do with a stream.
_STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Json(Response):
    """A JSON value."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Implements ``Response``."""
        return _encode(content)


class Stream(StreamingResponse):
    """Chunks as they come. The generator that gives them is closed as soon as the client has gone.

    Args:
        body_read: Set when the request's body has been read, where that goes on while the answer is given.
    """

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        media_type: str,
        headers: Mapping[str, str] | None = None,
        *,
        body_read: asyncio.Event | None = None,
    ) -> None:
        super().__init__(chunks, media_type=media_type, headers={**_STREAM_HEADERS, **(headers or {})})
        self._chunks = chunks
        self._body_read = body_read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Implements ``Response``."""
        async with contextlib.aclosing(self._chunks):
            await super().__call__(scope, receive, send)

    async def listen_for_disconnect(self, receive: Receive) -> None:
        """Implements ``StreamingResponse``."""
        if self._body_read is not None:  # until then, what is received is the body
            await self._body_read.wait()
        await super().listen_for_disconnect(receive)


def server_sent_event(name: str, data: Any, *, event_id: str | None = None) -> bytes:
    """One event of a stream; its data is a JSON value, or ``bytes`` of text as they are."""
    text = data if isinstance(data, bytes) else _encode(data)
    if b"\n" in text or b"\r" in text:
        text = b"\ndata: ".join(text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"))
    identifier = b"id: %s\n" % event_id.encode() if event_id is not None else b""
    return b"%sevent: %s\ndata: %s\n\n" % (identifier, name.encode(), text)


#: A sign of life that readers of a stream ignore.
STREAM_COMMENT = b": keep-alive\n\n"


def json_line(value: Any) -> bytes:
    """One line of a stream of JSON values."""
    return _encode(value) + b"\n"


#: Work whose client has gone, kept until it is done.
_unheard: set[asyncio.Future[Any]] = set()


async def while_connected(request: Request, work: Awaitable[T], *, cancels: bool = True) -> T:
    """The result of waiting for something on behalf of a client, or nothing as soon as the client hangs up.

    The request's body must have been read.

    Args:
        cancels: Whether the work is broken off then. Work that must not stop in the middle, such as accepting a prediction, goes on
            without anybody hearing of its end.

    Raises:
        ClientDisconnect: The client has hung up.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        if not task.done():
            if cancels:
                task.cancel()
                await asyncio.wait((task,))
            else:
                _unheard.add(task)
                task.add_done_callback(_heard_by_nobody)


def _heard_by_nobody(task: asyncio.Future[Any]) -> None:
    _unheard.discard(task)
    if not task.cancelled():
        task.exception()


async def with_signs_of_life(chunks: AsyncIterator[bytes], sign: bytes, *, seconds: float) -> AsyncGenerator[bytes, None]:
    """Chunks, and a sign of life whenever there was none for so long."""
    iterator = aiter(chunks)
    following: asyncio.Future[bytes | None] | None = None
    try:
        while True:
            following = following or asyncio.ensure_future(anext(iterator, None))
            done, _ = await asyncio.wait((following,), timeout=seconds)
            if not done:
                yield sign
                continue
            chunk, following = following.result(), None
            if chunk is None:
                return
            yield chunk
    finally:
        if following is not None and not following.done():
            following.cancel()
            await asyncio.wait((following,))
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
