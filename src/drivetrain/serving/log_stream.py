"""Turn the bytes of a worker's output pipe into text by stream; pure.

A worker marks in the pipe which of its two standard streams speaks next (``drivetrain_worker.protocol``). What native code and
child processes write carries no mark and counts to the stream that spoke last.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from drivetrain.model.prediction import Log, Source

_MARKS = {b"\x00\x01\x00": Source.STDOUT, b"\x00\x02\x00": Source.STDERR}
_MARK = re.compile(rb"(\x00[\x01\x02]\x00)")


class LogDecoder:
    """Holds what is incomplete between two reads: a mark, or a character of several bytes."""

    def __init__(self) -> None:
        self._source = Source.STDOUT
        self._pending = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, data: bytes) -> Iterator[Log]:
        """Yield what can be told now, in order."""
        data = self._pending + data
        held = _length_of_begun_mark(data)
        self._pending = data[len(data) - held :]
        for part in _MARK.split(data[: len(data) - held]):
            if part in _MARKS:
                yield from self.finish()
                self._source = _MARKS[part]
            elif text := self._decoder.decode(part):
                yield Log(source=self._source, data=text)

    def finish(self) -> Iterator[Log]:
        """Yield what is left of an incomplete character: its writer has ended or another speaks now."""
        if text := self._decoder.decode(b"", final=True):
            yield Log(source=self._source, data=text)
        self._decoder.reset()


def _length_of_begun_mark(data: bytes) -> int:
    if data.endswith((b"\x00\x01", b"\x00\x02")):
        return 2
    return 1 if data.endswith(b"\x00") and not data.endswith(tuple(_MARKS)) else 0
