"""How values are kept in a database: compact bytes that give back exactly what went in.

The first byte says in which form. Nearly everything is MessagePack. What that cannot say (whole numbers beyond 64 bits, lone
surrogates: JSON knows both, so models and clients can send them) is kept as JSON. Lists of events that are long are deflated.
Times are whole microseconds since 1970, so that they are compared and kept as numbers.
"""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from drivetrain.model.errors import InternalError
from drivetrain.model.prediction import (
    Completed,
    Event,
    Failure,
    Log,
    Metric,
    MetricMode,
    Output,
    OutputFile,
    OutputValue,
    Source,
    Started,
    Status,
)

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)

_MESSAGE_PACK = b"m"
_JSON = b"j"
_DEFLATED = b"z"

#: Below, deflating costs more time than the bytes it saves do (benchmarks/durable_queue.py).
_WORTH_DEFLATING = 4096

#: The first and the last moment that there are, as numbers.
EARLIEST = (datetime.min.replace(tzinfo=timezone.utc) - _EPOCH) // _MICROSECOND
LATEST = (datetime.max.replace(tzinfo=timezone.utc) - _EPOCH) // _MICROSECOND

_encode = msgspec.msgpack.Encoder().encode


def to_microseconds(moment: datetime) -> int:
    """A moment as a number."""
    return (moment - _EPOCH) // _MICROSECOND


def to_moment(microseconds: int) -> datetime:
    """The moment of a number."""
    return _EPOCH + timedelta(microseconds=microseconds)


def optional_microseconds(moment: datetime | None) -> int | None:
    """A moment as a number, if there is one."""
    return None if moment is None else to_microseconds(moment)


def optional_moment(microseconds: int | None) -> datetime | None:
    """The moment of a number, if there is one."""
    return None if microseconds is None else to_moment(microseconds)


def pack(value: Any) -> bytes:
    """A JSON value, or a dataclass of such values, as bytes."""
    try:
        return _MESSAGE_PACK + _encode(value)
    except (OverflowError, UnicodeEncodeError):
        return _JSON + json.dumps(msgspec.to_builtins(value)).encode()


def unpack(data: bytes) -> Any:
    """The JSON value of some bytes."""
    return unpack_as(Any, data)


def unpack_as(kind: Any, data: bytes) -> Any:
    """What was packed, as a given type. Fields that it did not have when it was packed get their defaults."""
    form, body = data[:1], memoryview(data)[1:]
    if form == _DEFLATED:
        return _decoder(kind).decode(zlib.decompress(body))
    if form == _MESSAGE_PACK:
        return _decoder(kind).decode(body)
    if form == _JSON:
        value = json.loads(bytes(body))
        return value if kind is Any else msgspec.convert(value, kind)
    raise InternalError(f"a stored value begins with {form!r}, which is no form that this version writes")


def pack_events(events: Iterable[Event]) -> bytes:
    """A prediction's events as bytes."""
    packed = pack([_event_to_list(event) for event in events])
    if len(packed) < _WORTH_DEFLATING or not packed.startswith(_MESSAGE_PACK):
        return packed
    deflated = zlib.compress(memoryview(packed)[1:], level=1)
    return _DEFLATED + deflated if len(deflated) < len(packed) * 0.9 else packed


def unpack_events(data: bytes) -> tuple[Event, ...]:
    """The events of some bytes."""
    return tuple(_list_to_event(fields) for fields in unpack(data))


@functools.cache
def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind)


def _event_to_list(event: Event) -> Sequence[Any]:
    match event:
        case Log():
            return ("log", event.source.value, event.data)
        case Output():
            files = [(file.pointer, str(file.path), file.name) for file in event.output.files]
            return ("output", event.output.value, files) if files else ("output", event.output.value)
        case Metric():
            return ("metric", event.name, event.value, event.mode.value)
        case Started():
            return ("started", to_microseconds(event.at))
        case Completed():
            failure = event.failure
            told = (failure.message, failure.traceback, failure.worker_lost) if failure else None
            return ("completed", event.status.value, to_microseconds(event.at), told)


def _list_to_event(fields: Sequence[Any]) -> Event:
    match fields:
        case ["log", source, data]:
            return Log(source=_SOURCES[source], data=data)
        case ["output", value]:
            return Output(output=OutputValue(value=value))
        case ["output", value, files]:
            kept = (OutputFile(pointer=tuple(pointer), path=Path(path), name=name) for pointer, path, name in files)
            return Output(output=OutputValue(value=value, files=tuple(kept)))
        case ["metric", name, value, mode]:
            return Metric(name=name, value=value, mode=MetricMode(mode))
        case ["started", at]:
            return Started(at=to_moment(at))
        case ["completed", status, at, told]:
            failure = Failure(message=told[0], traceback=told[1], worker_lost=told[2]) if told else None
            return Completed(status=Status(status), at=to_moment(at), failure=failure)
    raise InternalError(f"a stored event begins with {fields[:1]!r}, which is no event that this version knows")


_SOURCES: Mapping[str, Source] = {source.value: source for source in Source}
