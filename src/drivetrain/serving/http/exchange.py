"""One HTTP request and its response, over plain ASGI: what the hot path needs and no more."""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any, BinaryIO, TypeAlias

import msgspec

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

#: A larger body waits on disk, not in memory, until it has come whole: clients may be slow, and many.
_LARGEST_BODY_IN_MEMORY = 1024 * 1024

_json = msgspec.json.Encoder()
_decode = msgspec.json.Decoder().decode


class HttpError(Exception):
    """A request that is answered with a status other than success.

    Args:
        status: HTTP status.
        detail: JSON value for the body's ``detail``.
        extra: Further members of the body.
    """

    def __init__(self, status: int, detail: Any, **extra: Any) -> None:
        super().__init__(status, detail)
        self.status = status
        self.body = {"detail": detail, **extra}


class ClientGone(Exception):  # noqa: N818 (nobody is left to be answered)
    """The client closed the connection before its request was whole."""


class Exchange:
    """A request being answered.

    Args:
        scope: The ASGI scope of an HTTP request.
        receive: ASGI's way in.
        send: ASGI's way out.
        body_limit: Bytes a body may have.
        extra_headers: Added to every answer.

    Attributes:
        path: As the client sent it, since an id in it may hold a quoted slash.
    """

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        body_limit: int,
        extra_headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["raw_path"].decode("ascii", "replace")
        self.receive = receive
        self._send = send
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._body_limit = body_limit
        self._extra_headers = extra_headers

    def header(self, name: bytes) -> str:
        """All values of a header joined by commas, in lower-case name; empty when absent."""
        return ", ".join(value.decode("latin-1") for key, value in self._headers if key == name)

    async def json_body(self) -> Any:
        """The request's JSON body; ``None`` when it has no body.

        Raises:
            HttpError: 413, 415 or 400.
        """
        body = await self._body()
        if isinstance(body, bytes) and not body.strip():
            return None
        content_type = self.header(b"content-type").partition(";")[0].strip().lower()
        if content_type and content_type != "application/json" and not content_type.endswith("+json"):
            raise HttpError(415, f"the body must be JSON, not '{content_type}': send the header Content-Type: application/json")
        try:
            return _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise HttpError(400, f"the body is not JSON: {error}") from error

    async def disconnected(self) -> None:
        """Wait until the client hangs up. After the body has been read, that is all the server has to say about it."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def stream(self, chunks: AsyncIterator[bytes], content_type: bytes) -> bool:
        """Answer with chunks as they come; whether the client was there to the end."""
        headers = [(b"content-type", content_type), (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
        await self._send({"type": "http.response.start", "status": 200, "headers": [*headers, *self._extra_headers]})
        gone = asyncio.get_running_loop().create_task(self.disconnected())
        try:
            async for chunk in _until(gone, chunks):
                await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
            if gone.done():
                return False
            await self._send({"type": "http.response.body", "body": b""})
            return True
        finally:
            gone.cancel()

    async def respond(self, status: int, body: Any, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        """Answer with JSON."""
        await self.respond_bytes(status, _json.encode(body), b"application/json", headers)

    async def respond_bytes(
        self, status: int, content: bytes, content_type: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        """Answer with bytes."""
        length = str(len(content)).encode()
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-type", content_type), (b"content-length", length), *headers, *self._extra_headers],
            }
        )
        await self._send({"type": "http.response.body", "body": content})

    async def body_chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes.

        Raises:
            HttpError: 413.
            ClientGone: It did not come whole.
        """
        declared = self.header(b"content-length")
        if declared.isdigit() and int(declared) > self._body_limit:
            raise self._too_large()
        size = 0
        while (message := await self.receive())["type"] == "http.request":
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > self._body_limit:
                raise self._too_large()
            yield chunk
            if not message.get("more_body"):
                return
        raise ClientGone

    async def _body(self) -> bytes | mmap.mmap:
        chunks: list[bytes] = []
        size = 0
        with contextlib.ExitStack() as stack:
            spool: BinaryIO | None = None
            async for chunk in self.body_chunks():
                chunks.append(chunk)
                size += len(chunk)
                if spool is None and size > _LARGEST_BODY_IN_MEMORY:
                    spool = stack.enter_context(tempfile.TemporaryFile())
                if spool is not None:
                    await asyncio.to_thread(_write, spool, chunks)
                    chunks = []
            if spool is not None:
                return mmap.mmap(spool.fileno(), size, access=mmap.ACCESS_READ)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _too_large(self) -> HttpError:
        return HttpError(413, f"the body is larger than the limit of {self._body_limit} bytes")


def _write(spool: BinaryIO, chunks: Iterable[bytes]) -> None:
    try:
        spool.writelines(chunks)
        spool.flush()
    except OSError as error:
        raise HttpError(507, f"the body cannot be stored while it comes: {error.strerror}") from error


async def _until(stop: asyncio.Task[None], chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Chunks until there are no more or ``stop`` is done, also while the next one is waited for."""
    iterator = chunks.__aiter__()
    while True:
        following = asyncio.ensure_future(anext(iterator, None))
        await asyncio.wait({stop, following}, return_when=asyncio.FIRST_COMPLETED)
        if not following.done():
            following.cancel()
            await asyncio.wait({following})
            return
        chunk = following.result()
        if chunk is None or stop.done():
            return
        yield chunk
