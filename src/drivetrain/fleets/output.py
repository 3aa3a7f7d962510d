"""What a runner writes to its standard output and error, on its way to the platform's log."""

from __future__ import annotations

import asyncio
import codecs
import os
from collections.abc import Callable

_READ_BYTES = 64 * 1024

#: What is in the pipe when its runner has ended is read, but not for ever: what got away from the runner may write on.
_LAST_READS = 64

#: So much of the end is kept for the message of a failure.
_TAIL_CHARACTERS = 8 * 1024


class RunnerOutput:
    """Owns the pipe. What is not read yet waits in it, and then in whoever writes: nothing piles up here.

    Args:
        log: Told the text.
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._pipe, self.writer = os.pipe()
        os.set_blocking(self._pipe, False)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self.tail = ""
        self._is_closed = False
        self._loop.add_reader(self._pipe, self._read)

    def close_writer(self) -> None:
        """Close our copy of the end that the runner writes to. May be called twice."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def close(self) -> None:
        """Read what is left, and close the pipe. May be called twice."""
        self.close_writer()
        reads = 0
        while not self._is_closed:
            reads += 1
            if not self._read() or reads >= _LAST_READS:
                self._end()

    def _read(self) -> bool:
        try:
            data = os.read(self._pipe, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._end()
            return False
        self._tell(self._decoder.decode(data))
        return True

    def _end(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.remove_reader(self._pipe)
        os.close(self._pipe)
        self._tell(self._decoder.decode(b"", final=True))

    def _tell(self, text: str) -> None:
        if text:
            self.tail = (self.tail + text)[-_TAIL_CHARACTERS:]
            self._log(text)
