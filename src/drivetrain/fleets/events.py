"""The events of a prediction as a model server streams them, read back; pure.

The other side is ``drivetrain.serving.event_stream``, with ``render_ending`` for the last event.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from drivetrain.model.prediction import (
    Completed,
    Event,
    Failure,
    Log,
    Metric,
    MetricMode,
    Output,
    OutputValue,
    Source,
    Started,
    Status,
)
from drivetrain.platform.fleet import RunnerLost

#: No event of a model that is of use to anybody is larger, and one that is costs the platform its memory.
LARGEST_EVENT_BYTES = 256 * 1024 * 1024

_SEPARATOR = b"\n\n"


class EventTooLarge(Exception):  # noqa: N818 (what is wrong with it)
    """An event has more than ``LARGEST_EVENT_BYTES``."""


class EventDecoder:
    """Holds the event that has not come whole.

    Args:
        hidden: A URL that no message may name.
    """

    def __init__(self, *, hidden: str) -> None:
        self._hidden = hidden
        self._pending = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """Events that are whole now, in order.

        Raises:
            EventTooLarge: One is not going to be read.
            RunnerLost: The stream is not whole, or the prediction ended for a reason that lies outside of the author's code.
        """
        if not self._pending and data.endswith(_SEPARATOR):  # as most do
            yield from self._events(data)
            return
        self._pending += data
        end = self._pending.rfind(_SEPARATOR, max(0, self._searched - 1))
        self._searched = len(self._pending)
        if end >= 0:
            whole = bytes(self._pending[:end])
            del self._pending[: end + len(_SEPARATOR)]
            self._searched = len(self._pending)
            yield from self._events(whole)
        if len(self._pending) > LARGEST_EVENT_BYTES:
            raise EventTooLarge

    def _events(self, text: bytes) -> Iterator[Event]:
        for block in text.split(_SEPARATOR):
            if block and not block.startswith(b":"):
                name, _, data = block.partition(b"\n")
                yield _event(name.removeprefix(b"event: "), data.removeprefix(b"data: "), self._hidden)


def without(hidden: str, message: str) -> str:
    """A message that does not name the URL; the file's own part of it stays."""
    return message.replace(hidden.rstrip("/"), "files of the platform")


class _Start(msgspec.Struct):
    started_at: datetime


class _Output(msgspec.Struct):
    chunk: Any


class _Log(msgspec.Struct):
    source: Source
    data: str


class _Metric(msgspec.Struct):
    name: str
    value: Any
    mode: MetricMode


class _Completed(msgspec.Struct):
    status: Status
    error: str | None
    traceback: str | None
    worker_lost: bool
    completed_at: datetime


_start = msgspec.json.Decoder(_Start)
_output = msgspec.json.Decoder(_Output)
_log = msgspec.json.Decoder(_Log)
_metric = msgspec.json.Decoder(_Metric)
_completed = msgspec.json.Decoder(_Completed)


def _event(name: bytes, data: bytes, hidden: str) -> Event:
    match name:
        case b"start":
            return Started(at=_start.decode(data).started_at)
        case b"output":
            return Output(output=OutputValue(value=_output.decode(data).chunk))
        case b"log":
            log = _log.decode(data)
            return Log(source=log.source, data=log.data)
        case b"metric":
            metric = _metric.decode(data)
            return Metric(name=metric.name, value=metric.value, mode=metric.mode)
        case b"completed":
            return _ending(_completed.decode(data), hidden)
        case _:
            raise RunnerLost("some events of the prediction were lost on their way from the runner")


def _ending(told: _Completed, hidden: str) -> Completed:
    message = without(hidden, told.error or "")
    if told.worker_lost:
        raise RunnerLost(message or "the worker ended while it ran the prediction")
    failure = Failure(message=message, traceback=told.traceback) if told.status is Status.FAILED else None
    return Completed(status=told.status, at=told.completed_at, failure=failure)
