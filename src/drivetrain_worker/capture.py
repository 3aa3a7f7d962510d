"""Where a worker's output goes: file descriptors 1 and 2 are one pipe to the model server.

The server reads the pipe, so nothing in here copies bytes: child processes and native code write straight into it, and what a
crashing process wrote last is still there. ``sys.stdout`` and ``sys.stderr`` are replaced by streams that write into the same pipe
and mark which of the two is speaking.

When several predictions run at once in one event loop, a pipe cannot say whose output it carries. Then Python-level writes are sent
as ``log`` frames, attributed by the context variable that holds the running prediction's id.
"""

from __future__ import annotations

import io
import os
import sys
from contextvars import ContextVar
from typing import Any, Callable, Optional, Tuple

from drivetrain_worker.protocol import MARK_STDERR, MARK_STDOUT

#: Id of the prediction in whose context the code runs.
running_prediction: ContextVar[Optional[str]] = ContextVar("running_prediction", default=None)

#: Called with (prediction id, stream name, text) to attribute a write.
LogSink = Callable[[str, str, str], None]

_STREAMS = {"stdout": (1, MARK_STDOUT), "stderr": (2, MARK_STDERR)}


class _Pipe(io.RawIOBase):
    """One of the two standard streams, as an unbuffered file."""

    #: The stream that spoke last into the shared pipe. Two threads may race for it: then a line is attributed to the other
    #: stream, which is not worth a lock that a fork could leave locked.
    _speaker = b""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._descriptor, self._mark = _STREAMS[stream]
        self.sink: Optional[LogSink] = None

    @property
    def name(self) -> str:
        return "<%s>" % self._stream

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        """Stay open.

        Code closes ``sys.stdout``, or drops a wrapper that it put around ``sys.stdout.buffer``, which closes it too. In a script
        that is the end of the output; here the next prediction has to write.
        """

    def write(self, data: Any) -> int:
        size = len(data)
        if self.sink is not None:
            prediction = running_prediction.get()
            if prediction is not None:
                self.sink(prediction, self._stream, bytes(data).decode("utf-8", "replace"))
                return size
        payload = bytes(data)
        if _Pipe._speaker is not self._mark:
            _Pipe._speaker = self._mark
            payload = self._mark + payload
        view = memoryview(payload)
        while view:
            view = view[os.write(self._descriptor, view) :]
        return size


def _text(stream: str) -> io.TextIOWrapper:
    # No BufferedWriter in between: the text layer already gathers a line, and one buffer less is one less to flush.
    pipe: Any = _Pipe(stream)
    return io.TextIOWrapper(pipe, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def install() -> None:
    """Replace ``sys.stdout`` and ``sys.stderr`` by streams into the pipe, line-buffered."""
    sys.stdout = sys.__stdout__ = _text("stdout")  # type: ignore[misc] # typed as final
    sys.stderr = sys.__stderr__ = _text("stderr")  # type: ignore[misc] # typed as final


def adopt() -> None:
    """After a fork, with another pipe in the old one's place: its reader does not know yet which stream is speaking."""
    _Pipe._speaker = b""  # noqa: SLF001 (of all pipes together, and of this module alone)


def attribute(sink: LogSink) -> None:
    """From now on send what a running prediction writes through Python to ``sink``.

    The streams that authors' libraries may have taken hold of (logging handlers, progress bars) stay the same objects. They no
    longer gather lines, since half a line of one prediction would be completed by another.
    """
    for stream in (sys.__stdout__, sys.__stderr__):
        if isinstance(stream, io.TextIOWrapper) and isinstance(stream.buffer, _Pipe):
            stream.reconfigure(write_through=True)
            stream.buffer.sink = sink


def write_error(text: str) -> None:
    """Write to ``sys.stderr``; if the author's code has replaced it by what cannot be written to, to the worker's own."""
    streams: Tuple[Any, ...] = (sys.stderr, sys.__stderr__)
    for stream in streams:
        try:
            stream.write(text)
        except (AttributeError, OSError, ValueError):
            continue  # replaced by None or closed, as for flush
        return


def flush() -> None:
    """Push out what Python still buffers, so that it is in the pipe before the next frame is sent."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):  # replaced by None or closed by the author's code
            pass
