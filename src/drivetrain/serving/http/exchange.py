"""One HTTP request and its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from drivetrain.model.errors import OutsideFailed

if TYPE_CHECKING:
    import mmap

    from drivetrain.serving.http.client_connection import ClientConnection

#: A client that reads fast lets others have their turn after so much.
_SENT_IN_A_TURN_BYTES = 1024 * 1024

_encode = msgspec.json.Encoder().encode
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
    """A request being answered. Made by its connection; answered once, by whoever handles it.

    Args:
        connection: Whose request it is.
        method: As the client sent it.
        path: As the client sent it, since an id in it may hold a quoted slash.
        headers: By lower-case name; what came several times is joined by commas.
        keeps_alive: Whether the client wants to ask more.
        is_1_0: Whether it speaks HTTP/1.0.

    Attributes:
        is_answered: Whether the answer is complete.
        is_handed_on: Whether somebody handles it; set by the connection, as is the next.
        expects_leave: Whether the client waits to be told that it may send the body.
        is_chunked: Whether an answer that comes in pieces says the length of each, as it has not said that of the whole.
        is_client_gone: Whether nobody is left to be answered; what is sent then goes nowhere.
    """

    __slots__ = (
        "_body",
        "_body_bytes",
        "_connection",
        "_gone",
        "_has_body_ended",
        "_headers",
        "_reader",
        "_writable",
        "expects_leave",
        "is_1_0",
        "is_answered",
        "is_chunked",
        "is_client_gone",
        "is_handed_on",
        "keeps_alive",
        "method",
        "path",
    )

    def __init__(
        self,
        connection: ClientConnection,
        method: str,
        path: str,
        headers: dict[bytes, bytes],
        *,
        keeps_alive: bool = True,
        is_1_0: bool = False,
    ) -> None:
        self.method = method
        self.path = path
        self.keeps_alive = keeps_alive
        self.is_1_0 = is_1_0
        self.is_answered = False
        self.is_chunked = False
        self.is_handed_on = False
        self.expects_leave = False
        self.is_client_gone = False
        self._connection = connection
        self._headers = headers
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._has_body_ended = False
        self._reader: asyncio.Future[None] | None = None
        self._gone: Callable[[], None] | None = None
        self._writable: Callable[[], None] | None = None

    def header(self, name: bytes) -> str:
        """All values of a header joined by commas, in lower-case name; empty when absent."""
        value = self._headers.get(name)
        return "" if value is None else value.decode("latin-1")

    # The body.

    @property
    def has_whole_body(self) -> bool:
        """Whether the body is here, so that ``json_at_once`` gives it."""
        return self._has_body_ended

    def json_at_once(self) -> Any:
        """The JSON of a body that is here whole; ``None`` when it is empty.

        Raises:
            HttpError: 413, 415 or 400.
        """
        self._require_size(self._body_bytes)
        return self._parse(self._body[0] if len(self._body) == 1 else b"".join(self._body))

    async def json_body(self) -> Any:
        """The request's JSON body, when it has come; ``None`` when it is empty.

        Raises:
            HttpError: 413, 415, 400 or 507.
            ClientGone: It did not come whole.
        """
        return self.json_at_once() if self._has_body_ended else self._parse(await self._spooled())

    async def body_chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes.

        Raises:
            HttpError: 413.
            ClientGone: It did not come whole.
        """
        declared = self.header(b"content-length")
        if declared.isdigit():
            self._require_size(int(declared))
        size = 0
        while True:
            for chunk in self._take_body():
                size += len(chunk)
                self._require_size(size)
                yield chunk
            if self._body:
                continue
            if self._has_body_ended:
                return
            await self._more_body()

    def add_body(self, chunk: bytes) -> int:
        """Take a piece of the body; how many bytes wait here now. Called by the connection, as are the next four."""
        self._body.append(chunk)
        self._body_bytes += len(chunk)
        self._wake_reader()
        return self._body_bytes

    def end_body(self) -> None:
        """The body has come whole."""
        self._has_body_ended = True
        self._wake_reader()

    def drop_body(self) -> None:
        """Nobody wants the body any more."""
        self._body = []
        self._body_bytes = 0

    def lose_client(self) -> None:
        """The client has gone."""
        self.is_client_gone = True
        self._wake_reader()
        gone, self._gone, self._writable = self._gone, None, None
        if gone is not None:
            gone()

    def become_writable(self) -> None:
        """The client has read most of what it was sent."""
        if self._writable is not None:
            self._writable()

    # The answer.

    def on_client_gone(self, action: Callable[[], None] | None) -> None:
        """Have something done once the client hangs up before it has been answered, in place of what was to be done before."""
        self._gone = action

    def respond(self, status: int, body: Any) -> None:
        """Answer with JSON."""
        self.respond_bytes(status, _encode(body), b"application/json")

    def respond_bytes(self, status: int, content: bytes, content_type: bytes) -> None:
        """Answer with bytes."""
        self._gone = None
        if not self.is_client_gone:
            self._connection.answer(self, status, content_type, content)

    def begin_stream(self, content_type: bytes, *, writable: Callable[[], None]) -> None:
        """Begin an answer that comes in pieces.

        Args:
            content_type: Of the whole.
            writable: Called when the client, after having lagged behind, has read most of what it was sent.
        """
        if not self.is_client_gone:
            self._writable = writable
            self._connection.begin_stream(self, content_type)

    async def respond_sized(self, status: int, length: int, pieces: AsyncIterator[bytes], content_type: bytes) -> None:
        """Answer with bytes that come in pieces, as fast as the client reads them.

        Args:
            status: HTTP status.
            length: Of all pieces together.
            pieces: If it fails, or has another length, the answer is cut off.
            content_type: Of the whole.
        """
        self._gone = None
        if self.is_client_gone:
            return
        self._connection.begin_sized(self, status, content_type, length)
        try:
            if self.method != "HEAD":
                sent = 0
                async for piece in pieces:
                    length -= len(piece)
                    self._connection.send_now(piece)
                    sent += len(piece)
                    if sent > _SENT_IN_A_TURN_BYTES:
                        sent = 0
                        await asyncio.sleep(0)
                    await self._drained()
                if length:
                    raise ValueError(f"the answer to {self.method} {self.path} has not the length it should have")
        except ClientGone:
            return
        except BaseException:
            self.cut()
            raise
        self.end_stream()

    async def _drained(self) -> None:
        if self.is_client_gone:
            raise ClientGone
        if not self.is_writable:
            drained = asyncio.get_running_loop().create_future()
            self._writable = self._gone = lambda: None if drained.done() else drained.set_result(None)
            await drained
            self._writable = self._gone = None
            if self.is_client_gone:
                raise ClientGone

    @property
    def is_writable(self) -> bool:
        """Whether the client reads what it is sent."""
        return self._connection.is_writable

    def send(self, chunk: bytes) -> None:
        """Send a piece of the answer."""
        if not self.is_client_gone:
            self._connection.send(self, chunk)

    def end_stream(self) -> None:
        """End an answer that came in pieces."""
        self._gone = self._writable = None
        if not self.is_client_gone:
            self._connection.end_stream(self)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do work in a task, which the server waits for before it ends."""
        self._connection.spawn(work)

    def cut(self) -> None:
        """Break the answer off so that the client knows."""
        self._gone = self._writable = None
        if not self.is_client_gone:
            self.is_client_gone = True
            self._connection.cut()

    def _take_body(self) -> list[bytes]:
        taken, self._body, self._body_bytes = self._body, [], 0
        self._connection.body_taken()
        return taken

    async def _more_body(self) -> None:
        if self.is_client_gone:
            raise ClientGone
        if self.expects_leave:
            self.expects_leave = False
            self._connection.allow_body()
        self._reader = asyncio.get_running_loop().create_future()
        await self._reader

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def _spooled(self) -> bytes | mmap.mmap:
        from drivetrain.serving.http.spool import spooled

        try:
            return await spooled(self.body_chunks())
        except OutsideFailed as error:
            raise HttpError(507, error.message) from error

    def _parse(self, body: bytes | mmap.mmap) -> Any:
        if isinstance(body, bytes) and not body.strip():
            return None
        content_type = self._headers.get(b"content-type", b"")
        if content_type and content_type != b"application/json":
            self._require_json(content_type.decode("latin-1").partition(";")[0].strip().lower())
        try:
            return _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise HttpError(400, f"the body is not JSON: {error}") from error

    def _require_json(self, media_type: str) -> None:
        if media_type and media_type != "application/json" and not media_type.endswith("+json"):
            raise HttpError(415, f"the body must be JSON, not '{media_type}': send the header Content-Type: application/json")

    def _require_size(self, size: int) -> None:
        if size > (limit := self._connection.body_limit):
            raise HttpError(413, f"the body is larger than the limit of {limit} bytes")
