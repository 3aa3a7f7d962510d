"""A prediction's output as server-sent events, as Replicate's clients read them.

Every event has an id: one of the clients drops what comes before the first. There are only the four names that they know; anything
else makes one of them fail. A client that comes late gets everything from the start.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import msgspec

from drivetrain.gateways.http.answer import STREAM_COMMENT
from drivetrain.model.prediction import Completed, Log, Output, Status
from drivetrain.platform.hub import Numbered

_encode = msgspec.json.Encoder().encode

_PLACE = re.compile(r"(\d{1,9}):(\d{1,9})", re.ASCII)

#: All that any of the clients takes for the end of a line. One of them cuts at these even inside of a line of data, and would
#: lose the rest; as lines of data of their own they arrive everywhere, as line feeds.
_LINE_END = re.compile("\r\n|[\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")

#: Events that are there together are sent together; up to this, since slow readers must not hold more memory.
_CHUNK_BYTES = 256 * 1024

BEGUN_ANEW = "the prediction's runner was lost and it was begun anew: what came before is void; get the prediction itself"


def read_place(last_event_id: str | None) -> tuple[int, int] | None:
    """The (attempt, number) in ``Last-Event-ID``; ``None`` if there is none of ours."""
    match = _PLACE.fullmatch(last_event_id.strip()) if last_event_id else None
    return (int(match[1]), int(match[2])) if match else None


class OutputEvents:
    """Encodes the events of one prediction for one reader.

    Args:
        after: What the reader had before, on an earlier connection.
        change: Makes what clients get of an output's value.
        with_logs: Whether log text goes along, which not all readers of text can take.
    """

    def __init__(self, after: tuple[int, int] | None, change: Callable[[Any], Any], *, with_logs: bool = False) -> None:
        self._attempt = after[0] if after is not None else 0
        self._has_told = after is not None
        self._change = change
        self._with_logs = with_logs
        self._place = after or (0, 0)

    async def encode(self, batches: AsyncIterator[list[Numbered]]) -> AsyncGenerator[bytes, None]:
        """The stream's bytes, up to its end."""
        yield b": stream\n\n"
        is_ended = False
        async for batch in batches:
            chunk = bytearray()
            for numbered in batch:
                self._place = numbered.attempt, numbered.number
                if self._is_begun_anew(numbered):
                    chunk += self._event("error", BEGUN_ANEW) + self._done("error")
                    is_ended = True
                    break
                chunk += self._encode(numbered)
                is_ended = isinstance(numbered.event, Completed)
                if len(chunk) > _CHUNK_BYTES:
                    yield bytes(chunk)
                    chunk.clear()
            if chunk or not batch:
                yield bytes(chunk) or STREAM_COMMENT
            if is_ended:
                return
        yield self._done(None)  # the reader had its end before, or its events are kept no longer

    def _is_begun_anew(self, numbered: Numbered) -> bool:
        """Whether the reader holds output of an attempt that was given up: nobody could tell it from this one's."""
        if numbered.attempt != self._attempt and self._has_told:
            return True
        self._attempt = numbered.attempt
        return False

    def _encode(self, numbered: Numbered) -> bytes:
        match numbered.event:
            case Output(output=output):
                self._has_told = True
                value = self._change(output.value)
                return self._event("output", value if isinstance(value, str) else _encode(value).decode())
            case Log(data=data) if self._with_logs:
                self._has_told = True
                return self._event("logs", data)
            case Completed(status=Status.FAILED, failure=failure):
                return self._event("error", failure.message if failure is not None else "") + self._done("error")
            case Completed(status=Status.CANCELED):
                return self._done("canceled")
            case Completed():
                return self._done(None)
        return b""

    def _done(self, reason: str | None) -> bytes:
        return self._event("done", _encode({"reason": reason} if reason else {}).decode())

    def _event(self, name: str, text: str) -> bytes:
        lines = "".join(f"data: {line}\n" for line in _LINE_END.split(text))
        return f"event: {name}\nid: {self._place[0]}:{self._place[1]}\n{lines}\n".encode("utf-8", "replace")
