"""One client's connection: bytes in, requests out, answers back, in order; without a task for what can be answered without one.

Theory. A request whose body is small is handed on when it has come whole, and is then usually answered by a plain call, now or
when its prediction ends. One with a large body, or one that asks leave to send it, is handed on at the end of its head, and its
body is read as it comes. Requests that a client sends before it has been answered wait their turn, and meanwhile the client is not
read from.

A connection costs a bounded amount: of memory before a request is known, and of time while its client does nothing. None has a
timer of its own for that: the server looks over all connections from time to time (``HttpServer``).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Coroutine
from typing import Any, Protocol, TypeAlias, cast

import httptools

from drivetrain.serving.http.exchange import Exchange

#: As much as other servers take for the request line and all headers.
_LARGEST_HEAD_BYTES = 64 * 1024

#: A body up to this size is handed on whole.
_WHOLE_BODY_BYTES = 250_000

#: Of a body that is read as it comes, and of requests sent in advance, so much waits here before the client is not read from.
_HIGH_WATER_BYTES = 64 * 1024

#: Of a body that nobody wants any more (its request has been refused), so much is read so that the client sees the answer.
_UNWANTED_BYTES = 1024 * 1024 * 1024

#: Answers up to this size are joined with their heads, so that they leave in one piece.
_JOINED_BYTES = 64 * 1024

#: Those of answers that most servers give; the others are looked up, in a module that takes a millisecond to import.
_STATUS_LINES = {
    200: b"HTTP/1.1 200 OK\r\n",
    202: b"HTTP/1.1 202 Accepted\r\n",
    404: b"HTTP/1.1 404 Not Found\r\n",
    503: b"HTTP/1.1 503 Service Unavailable\r\n",
}

#: What a handler gives back: nothing when it has answered or will answer later, or work that a task must do.
Work: TypeAlias = Coroutine[Any, Any, None] | None


class Home(Protocol):
    """What the connections of a server share.

    Attributes:
        body_limit: Bytes that a request's body may have.
        extra_headers: Sent with every answer, each line with its end.
    """

    body_limit: int
    extra_headers: bytes

    def handle(self, exchange: Exchange) -> Work:
        """Answer a request now, later, or by the work that is returned; raises nothing."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do work in a task."""

    def enter(self, connection: ClientConnection) -> None:
        """A connection has begun."""

    def leave(self, connection: ClientConnection) -> None:
        """A connection has ended."""


class ClientConnection(asyncio.Protocol):
    """A connection, from its beginning to its end.

    Args:
        home: The server.
        loop: The loop it lives in.
    """

    def __init__(self, home: Home, loop: asyncio.AbstractEventLoop) -> None:
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)  # there from connection_made on
        self._descriptor = -1  # as well
        self.is_writable = True
        self.body_limit = home.body_limit
        self._home = home
        self._loop = loop
        self._extra_headers = home.extra_headers
        self._parser = httptools.HttpRequestParser(self)
        self._current: Exchange | None = None  # the one to be answered
        self._coming: Exchange | None = None  # the one whose body is still to come
        self._waiting: deque[Exchange] = deque()
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = 0
        self._unwanted_bytes = 0
        self._is_in_head = False
        self._keeps_alive = True
        self._is_ending = False
        self._is_lingering = False
        self._is_paused = False
        self._refusal = b""
        self._marks = (-1, -1)  # what the last inspection saw
        self._received = 0
        self._idle_inspections = 0

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Implements ``asyncio.Protocol``."""
        self.transport = cast("asyncio.Transport", transport)
        self._descriptor = transport.get_extra_info("socket").fileno()
        self._home.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Implements ``asyncio.Protocol``."""
        self._home.leave(self)
        self._is_ending = True
        self.is_writable = False
        abandoned = [*([self._current] if self._current is not None else []), *self._waiting]
        self._waiting.clear()
        self._current = None
        for exchange in abandoned:
            exchange.lose_client()
        del self._parser  # it holds this connection: both would wait for a collection, which is rare here

    def eof_received(self) -> bool:
        """Implements ``asyncio.Protocol``: who will not send any more does not want to wait, either."""
        return False

    def data_received(self, data: bytes) -> None:
        """Implements ``asyncio.Protocol``."""
        self._received += 1
        if self._is_ending:
            self._drop(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # to what, we do not know: the request is answered, what follows is none
            self._end_after_answers(b"")
        except httptools.HttpParserError:
            self._end_after_answers(_refusal(400, "this is not an HTTP request"))
        else:
            if self._is_in_head:
                self._head_bytes += len(data)
                if self._head_bytes > _LARGEST_HEAD_BYTES:
                    self._end_after_answers(_refusal(431, "the request line and the headers are too large"))

    def pause_writing(self) -> None:
        """Implements ``asyncio.Protocol``."""
        self.is_writable = False

    def resume_writing(self) -> None:
        """Implements ``asyncio.Protocol``."""
        self.is_writable = True
        if self._current is not None:
            self._current.become_writable()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._url = b""
        self._headers = {}
        self._is_in_head = True

    def on_url(self, url: bytes) -> None:
        """A piece of what is asked for."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; also a trailer, which is none."""
        if self._is_in_head:
            name = name.lower()
            before = self._headers.get(name)
            self._headers[name] = value if before is None else b"%s, %s" % (before, value)

    def on_headers_complete(self) -> None:
        """The head has come."""
        self._is_in_head = False
        self._head_bytes = 0
        headers = self._headers
        parser = self._parser
        exchange = Exchange(
            self,
            parser.get_method().decode("ascii"),
            _path(self._url),
            headers,
            keeps_alive=parser.should_keep_alive(),
            is_1_0=parser.get_http_version() == "1.0",
        )
        self._coming = exchange
        length = headers.get(b"content-length")
        if b"expect" in headers or b"transfer-encoding" in headers or (length is not None and int(length) > _WHOLE_BODY_BYTES):
            exchange.expects_leave = headers.get(b"expect", b"").lower() == b"100-continue"
            self._enqueue(exchange)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        exchange = self._coming
        if exchange is not None and exchange.add_body(body) > _HIGH_WATER_BYTES and exchange.is_handed_on:
            self._pause()

    def on_message_complete(self) -> None:
        """The request has come whole."""
        exchange, self._coming = self._coming, None
        if exchange is None:
            return
        exchange.end_body()
        if not exchange.is_handed_on and exchange not in self._waiting:
            self._enqueue(exchange)

    # What an exchange calls.

    def allow_body(self) -> None:
        """Tell a client that asked that it may send the body."""
        self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def body_taken(self) -> None:
        """There is room for more of the body."""
        if not self._waiting:
            self._resume()

    def answer(self, exchange: Exchange, status: int, content_type: bytes, content: bytes) -> None:
        """Send a whole answer, and go on to the next request."""
        head = self._sized_head(exchange, status, content_type, len(content))
        if exchange.method == "HEAD":
            self.transport.write(head)
        elif len(content) <= _JOINED_BYTES:
            self.send_now(head + content)  # the client need not wait for our bookkeeping
        else:
            self.transport.write(head)
            self.transport.write(content)
        self._finish(exchange)

    def begin_stream(self, exchange: Exchange, content_type: bytes) -> None:
        """Send the head of an answer that comes in pieces, nobody knows how many."""
        exchange.is_chunked = not exchange.is_1_0
        if exchange.is_1_0:  # which knows no chunks: the end of the connection is the end of the answer
            exchange.keeps_alive = False
        self.transport.write(
            b"%scontent-type: %s\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n%s%s%s\r\n"
            % (
                self._status_line(exchange, 200),
                content_type,
                b"transfer-encoding: chunked\r\n" if exchange.is_chunked else b"",
                self._extra_headers,
                self._ending_header(exchange),
            )
        )

    def begin_sized(self, exchange: Exchange, status: int, content_type: bytes, length: int) -> None:
        """Send the head of an answer that comes in pieces."""
        self.transport.write(self._sized_head(exchange, status, content_type, length))

    def send(self, exchange: Exchange, piece: bytes) -> None:
        """Send a piece of an answer."""
        if exchange.method != "HEAD" and piece:
            self.send_now(b"%x\r\n%s\r\n" % (len(piece), piece) if exchange.is_chunked else piece)

    def send_now(self, data: bytes) -> None:
        """Send an answer, or a piece of one whose length was told, at once: the loop would wait for the end of its turn."""
        transport = self.transport
        if not transport.is_closing() and not transport.get_write_buffer_size():
            try:
                sent = os.write(self._descriptor, data)
            except OSError:
                sent = 0  # there is no room, or no client: the loop knows what to do
            if sent == len(data):
                return
            data = data[sent:]
        transport.write(data)

    def end_stream(self, exchange: Exchange) -> None:
        """End an answer that came in pieces, and go on to the next request."""
        if exchange.method != "HEAD" and exchange.is_chunked:
            self.transport.write(b"0\r\n\r\n")
        self._finish(exchange)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do work in a task of the server."""
        self._home.spawn(work)

    def cut(self) -> None:
        """End the connection in the middle of an answer, so that its client sees that it is not whole."""
        self.transport.abort()

    # What the server calls.

    def shut_down(self) -> None:
        """End as soon as the requests that have begun to come have been answered."""
        self._keeps_alive = False
        if self._current is None and self._coming is None and not self._is_in_head:
            self._is_ending = True
            self.transport.close()

    def inspect(self, inspections: int) -> None:
        """Cut a client that has done nothing for so many inspections although it is its turn.

        It must read what has been sent, go on with a request that it has begun, and begin one. While we answer it need do nothing.
        """
        before = self._marks
        self._marks = received, unread = self._received, self.transport.get_write_buffer_size()
        if self._is_lingering:
            has_progressed = False  # it may go on for so long and no longer
        elif unread:  # who has not read must read, whatever he sends
            has_progressed = unread != before[1]
        else:
            has_progressed = received != before[0] or (self._current is not None and not self._is_starved())
        self._idle_inspections = 0 if has_progressed else self._idle_inspections + 1
        if self._idle_inspections >= inspections:
            self.transport.abort()

    def _is_starved(self) -> bool:
        """Whether an answer waits for more of its request's body."""
        return self._coming is self._current and not self._is_paused

    # Our own.

    def _enqueue(self, exchange: Exchange) -> None:
        if self._is_ending:
            return
        if self._current is None:
            self._begin(exchange)
        else:
            self._waiting.append(exchange)
            self._pause()

    def _begin(self, exchange: Exchange) -> None:
        self._current = exchange
        exchange.is_handed_on = True
        work = self._home.handle(exchange)
        if work is not None:
            self._home.spawn(work)

    def _finish(self, exchange: Exchange) -> None:
        """An answer has been given."""
        exchange.is_answered = True
        if exchange is self._coming:
            self._linger(exchange)
        else:
            self._next(exchange)

    def _linger(self, exchange: Exchange) -> None:
        """A request was refused while its body still comes. Who closed now would reset the connection, answer and all."""
        exchange.drop_body()
        self._current = self._coming = None
        self._waiting.clear()
        self._is_ending = self._is_lingering = True
        self.transport.write_eof()
        self._resume()

    def _drop(self, data: bytes) -> None:
        self._unwanted_bytes += len(data)
        if self._unwanted_bytes > _UNWANTED_BYTES:
            self.transport.abort()

    def _next(self, exchange: Exchange) -> None:
        self._current = None
        if not exchange.keeps_alive:
            self._waiting.clear()
            self._is_ending = True
        if self._waiting:
            following = self._waiting.popleft()
            self._loop.call_soon(self._begin_next, following)  # not now: answers that need no waiting would nest
            self._current = following
        elif self._is_ending or (not self._keeps_alive and self._coming is None and not self._is_in_head):
            self._is_ending = True
            if self._refusal:
                self.transport.write(self._refusal)
            self.transport.close()
        else:
            self._resume()

    def _begin_next(self, exchange: Exchange) -> None:
        if self._current is exchange:
            if not self._waiting:
                self._resume()
            self._begin(exchange)

    def _end_after_answers(self, refusal: bytes) -> None:
        """Read no more. Close, with a refusal if that is due, once every request that has come whole has been answered."""
        if self._is_ending:
            return
        self._is_ending = True
        self._refusal = refusal
        incomplete, self._coming = self._coming, None
        if incomplete is not None:
            incomplete.lose_client()
            if incomplete in self._waiting:
                self._waiting.remove(incomplete)
            if self._current is incomplete:
                self._current = None
        if self._current is None:
            if refusal:
                self.transport.write(refusal)
            self.transport.close()

    def _pause(self) -> None:
        if not self._is_paused and not self.transport.is_closing():
            self._is_paused = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        if self._is_paused and not self.transport.is_closing():
            self._is_paused = False
            self.transport.resume_reading()

    def _sized_head(self, exchange: Exchange, status: int, content_type: bytes, length: int) -> bytes:
        return b"%scontent-type: %s\r\ncontent-length: %d\r\n%s%s\r\n" % (
            self._status_line(exchange, status),
            content_type,
            length,
            self._extra_headers,
            self._ending_header(exchange),
        )

    def _status_line(self, exchange: Exchange, status: int) -> bytes:
        if exchange is self._coming:  # there would have to be an end to what is not wanted
            exchange.keeps_alive = False
        return _status_line(status) + _date_header()

    def _ending_header(self, exchange: Exchange) -> bytes:
        if not (exchange.keeps_alive and self._keeps_alive) or self._is_ending:
            return b"connection: close\r\n"
        return b"connection: keep-alive\r\n" if exchange.is_1_0 else b""


def _path(url: bytes) -> str:
    """The path as the client sent it, since an id in it may hold a quoted slash."""
    if not url.startswith(b"/"):
        try:
            url = httptools.parse_url(url).path or b"/"
        except httptools.HttpParserInvalidURLError:
            return ""  # nothing is there
    return url.partition(b"?")[0].partition(b"#")[0].decode("ascii", "replace")


def _refusal(status: int, detail: str) -> bytes:
    body = b'{"detail":"%s"}' % detail.encode()
    return b"%s%scontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (
        _status_line(status),
        _date_header(),
        len(body),
        body,
    )


_last_date = (0, b"")


def _status_line(status: int) -> bytes:
    line = _STATUS_LINES.get(status)
    if line is None:
        from http import HTTPStatus

        line = _STATUS_LINES[status] = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    return line


def _date_header() -> bytes:
    """Made once a second."""
    global _last_date
    second = int(time.time())
    if second != _last_date[0]:
        _last_date = (second, time.strftime("date: %a, %d %b %Y %H:%M:%S GMT\r\n", time.gmtime(second)).encode())
    return _last_date[1]
