"""Connections that cost a bounded amount: of memory before a request is known, and of time while a client does nothing.

The HTTP server underneath takes a head of any length, and waits for ever for the rest of a request and for a client to read its
answer. Each such client would hold a socket, its answer, and the end of the server.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: As much as other servers take for the request line and all headers.
_LARGEST_HEAD_BYTES = 64 * 1024

#: How long a client may send nothing in the middle of a request, or read nothing of an answer that waits for it.
_PATIENCE_SECONDS = 60.0

_TOO_LARGE = b'{"detail":"the request line and the headers are too large"}'
_HEAD_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (len(_TOO_LARGE), _TOO_LARGE)
)


class Connection(HttpToolsProtocol):
    """One client's connection."""

    _is_in_head = False
    _is_in_request = True  # the first one is due
    _head_bytes = 0
    _unread_bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in the class above
        """Implements ``asyncio.Protocol``."""
        super().connection_made(transport)
        self._expect_progress()

    def connection_lost(self, exc: Exception | None) -> None:
        """Implements ``asyncio.Protocol``."""
        self._expect_nothing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Implements ``asyncio.Protocol``."""
        if not self.flow.write_paused:  # then the client must read, whatever it sends
            self._expect_nothing()
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _LARGEST_HEAD_BYTES:
                self.transport.write(_HEAD_TOO_LARGE)
                self.transport.close()
        if self._is_in_request and self._timer is None:
            self._expect_progress()

    def pause_writing(self) -> None:
        """Implements ``asyncio.Protocol``."""
        super().pause_writing()
        self._expect_progress()

    def resume_writing(self) -> None:
        """Implements ``asyncio.Protocol``."""
        super().resume_writing()
        if self._is_in_request:
            self._expect_progress()
        else:
            self._expect_nothing()

    def on_message_begin(self) -> None:
        """Called by the parser."""
        self._is_in_head = self._is_in_request = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser; also for trailers, which are no headers."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._is_in_head = False
        self._head_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._is_in_request = False
        super().on_message_complete()

    def _expect_progress(self) -> None:
        self._expect_nothing()
        self._unread_bytes = self.transport.get_write_buffer_size()
        self._timer = self.loop.call_later(_PATIENCE_SECONDS, self._check_progress)

    def _expect_nothing(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_progress(self) -> None:
        self._timer = None
        reads = self.transport.get_write_buffer_size() < self._unread_bytes
        if reads or self.flow.read_paused:  # or it is us who do not read yet
            self._expect_progress()
        else:
            self.transport.abort()
