"""A prediction as a stream of server-sent events: a view that reads the run's latest events at its reader's own pace.

Nothing is queued for a reader. The run keeps its latest events; a reader that lags behind them, or comes too late for the first
ones, is told how many it has missed. So a slow reader costs nobody anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec

from drivetrain.model.prediction import Completed, Event, Log, Metric, Output, Started
from drivetrain.serving.run import Run

#: Often enough that proxies keep the connection.
KEEP_ALIVE_SECONDS = 15.0

#: So much is encoded at once, or one event if that is more: a reader who does not read costs no more than that.
_CHUNK_BYTES = 256 * 1024

_encode = msgspec.json.Encoder().encode


class EventStream:
    """Renders the events of one run, from the first on.

    Args:
        run: What to follow.
        render: Makes the final response object.
        render_value: Makes an output's JSON value.
    """

    def __init__(
        self,
        run: Run,
        *,
        render: Callable[[Any], Awaitable[dict[str, Any]]],
        render_value: Callable[[Any], Awaitable[Any]],
    ) -> None:
        self._run = run
        self._render = render
        self._render_value = render_value
        self._number = 0
        self._outputs = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        """Bytes of the stream until the prediction has ended; empty comments while nothing happens."""
        news = asyncio.Event()
        with self._run.kept(), self._run.watched(lambda _event: news.set()):
            while True:
                news.clear()
                while chunk := await self._take():
                    yield chunk
                if self._run.is_finished:
                    return
                try:
                    await asyncio.wait_for(news.wait(), KEEP_ALIVE_SECONDS)
                except asyncio.TimeoutError:
                    yield b": keep-alive\n\n"

    async def _take(self) -> bytes:
        """What has happened since the last time, as one chunk; if that is much, the first of it."""
        missed, events = self._run.events_from(self._number)
        self._number += missed
        chunk = bytearray()
        if missed:
            # How many of the missed ones were outputs is not known; later ones are numbered by the record.
            self._outputs = len(self._run.prediction.outputs) - sum(isinstance(event, Output) for event in events)
            chunk += _event("error", {"error": "some events are no longer kept", "skipped": missed})
        for event in events:
            chunk += await self._encode_event(event)
            self._number += 1
            if len(chunk) > _CHUNK_BYTES:
                break
        return bytes(chunk)

    async def _encode_event(self, event: Event) -> bytes:
        match event:
            case Started():
                return _event("start", {"id": self._run.id, "status": "processing", "started_at": event.at.isoformat()})
            case Output():
                self._outputs += 1
                return _event("output", {"chunk": await self._render_value(event.output), "index": self._outputs - 1})
            case Log():
                return _event("log", {"source": event.source.value, "data": event.data})
            case Metric():
                return _event("metric", {"name": event.name, "value": event.value, "mode": event.mode.value})
            case Completed():
                return _event("completed", await self._render(self._run.prediction))


def _event(name: str, data: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), _encode(data))
