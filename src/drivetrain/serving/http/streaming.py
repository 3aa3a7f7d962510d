"""Answer with a prediction's events as they happen; without a task for each client.

What happens in one turn of the event loop leaves as one piece, but the first output leaves at once: a turn may bring all of a quick
model's outputs. A client that does not read is sent nothing until it does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from drivetrain.model.prediction import Event, Output
from drivetrain.serving.event_stream import EventStream
from drivetrain.serving.http.exchange import Exchange
from drivetrain.serving.http.rendering import load_files
from drivetrain.serving.run import Run

#: Often enough that proxies keep the connection.
_KEEP_ALIVE_SECONDS = 15.0

_COMMENT = b": keep-alive\n\n"


class StreamingAnswer:
    """The answer to one client. Lives until its prediction's end has been told, or the client has gone.

    Args:
        run: What to tell about.
        exchange: Whom to tell.
        stream: What to tell.
        ended: Called once, with whether the client was there to the end.
    """

    def __init__(self, run: Run, exchange: Exchange, stream: EventStream, *, ended: Callable[[bool], None]) -> None:
        self._run = run
        self._exchange = exchange
        self._stream = stream
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._is_scheduled = False
        self._is_loading = False
        self._has_ended = False
        self._has_sent = False
        self._has_output = False
        run.keep()
        run.add_watcher(self._notice)
        exchange.on_client_gone(self._lose_client)
        exchange.begin_stream(b"text/event-stream", writable=self._schedule)
        self._timer = self._loop.call_later(_KEEP_ALIVE_SECONDS, self._keep_alive)
        self._schedule()

    def _notice(self, event: Event) -> None:
        self._schedule()
        if not self._has_output and isinstance(event, Output):
            self._has_output = True
            try:
                self._tell()
            except Exception as error:  # noqa: BLE001 (others are still to be told of the event)
                self._loop.call_exception_handler({"message": "a fault in telling a client of an output", "exception": error})

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        self._is_scheduled = False
        if self._has_ended or self._is_loading:
            return
        try:
            while self._exchange.is_writable and (piece := self._stream.take()):
                self._has_sent = True
                self._exchange.send(piece)
        except Exception:
            self._break_off()
            raise
        if self._stream.missing:
            if self._exchange.is_writable:  # files are large, and one who does not read may never need them
                self._is_loading = True
                self._exchange.spawn(self._load())
        elif self._stream.is_at_end:
            self._end(stayed=True)
            self._exchange.end_stream()

    async def _load(self) -> None:
        try:
            self._stream.files |= await load_files(self._stream.missing)
        except Exception:
            self._break_off()
            raise
        self._is_loading = False
        self._tell()

    def _keep_alive(self) -> None:
        if not self._has_sent and self._exchange.is_writable:
            self._exchange.send(_COMMENT)
        self._has_sent = False
        self._timer = self._loop.call_later(_KEEP_ALIVE_SECONDS, self._keep_alive)

    def _break_off(self) -> None:
        if not self._has_ended:
            self._end(stayed=True)
            self._exchange.cut()

    def _lose_client(self) -> None:
        self._end(stayed=False)

    def _end(self, *, stayed: bool) -> None:
        self._has_ended = True
        self._timer.cancel()
        self._run.remove_watcher(self._notice)
        self._run.release()
        self._ended(stayed)
