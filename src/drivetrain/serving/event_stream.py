"""A prediction as server-sent events: a view that reads the run's latest events at its reader's own pace; no network in it.

Nothing is queued for a reader. The run keeps its latest events; a reader that lags behind them, or comes too late for the first
ones, is told how many it has missed. So a slow reader costs nobody anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from drivetrain.model.prediction import Completed, Event, Log, Metric, Output, OutputFile, OutputValue, Prediction, Started
from drivetrain.serving.run import Run

#: So much is encoded at once, or one event if that is more: a reader who does not read costs no more than that.
_PIECE_BYTES = 256 * 1024

_encode = msgspec.json.Encoder().encode


class EventStream:
    """Renders the events of one run, from the first on.

    Args:
        run: What to follow.
        render: Makes the object that tells how it ended.
        render_value: Makes an output's JSON value.
        find_missing: Finds the files that must be loaded before some outputs can be rendered.
        repeats: Whether the end tells all outputs once more.
        is_late: Whether its reader has come after the beginning, and is told only as much of what has been as the run says.

    Attributes:
        files: The files that have been loaded, by the one who reads the stream.
        missing: The files that must be loaded before it can go on.
    """

    def __init__(
        self,
        run: Run,
        *,
        render: Callable[[Prediction, Any], dict[str, Any]],
        render_value: Callable[[OutputValue, Any], Any],
        find_missing: Callable[[list[OutputValue], Any], list[OutputFile]],
        repeats: bool,
        is_late: bool,
    ) -> None:
        self.files: dict[OutputFile, Any] = {}
        self.missing: list[OutputFile] = []
        self._run = run
        self._render = render
        self._render_value = render_value
        self._find_missing = find_missing
        self._repeats = repeats
        self._number = 0
        self._withheld = run.first_for_latecomers if is_late else 0
        self._outputs = 0

    @property
    def is_at_end(self) -> bool:
        """Whether all has been told, and nothing more will come."""
        return self._run.is_finished and self._number == self._run.prediction.event_count

    def take(self) -> bytes:
        """What has happened since the last time, as one piece; if that is much, the first of it. Empty when there is nothing to
        tell, or nothing before ``missing`` files are here.
        """
        missed, events = self._run.events_from(self._number + self._withheld)
        missed += self._withheld
        self._withheld = 0
        self._number += missed
        pieces: list[bytes] = []
        if missed:
            # How many of the missed ones were outputs is not known; later ones are numbered by the record.
            self._outputs = len(self._run.prediction.outputs) - sum(isinstance(event, Output) for event in events)
            pieces.append(_event(b"error", {"error": "some events are no longer kept", "skipped": missed}))
        size = 0
        self.missing = []
        for event in events:
            if self._run.has_files and self._lacks_files(event):
                break
            pieces.append(self._encode_event(event))
            self._number += 1
            size += len(pieces[-1])
            if size > _PIECE_BYTES:
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _lacks_files(self, event: Event) -> bool:
        if isinstance(event, Output):
            self.missing = self._find_missing([event.output], self.files)
        elif isinstance(event, Completed) and self._repeats:
            self.missing = self._find_missing(self._run.prediction.outputs, self.files)
        return bool(self.missing)

    def _encode_event(self, event: Event) -> bytes:
        match event:
            case Output():
                index = self._outputs
                self._outputs += 1
                value = _encode(self._render_value(event.output, self.files))
                return b'event: output\ndata: {"chunk":%s,"index":%d}\n\n' % (value, index)
            case Log():
                return _event(b"log", {"source": event.source.value, "data": event.data})
            case Metric():
                return _event(b"metric", {"name": event.name, "value": event.value, "mode": event.mode.value})
            case Started():
                return _event(b"start", {"id": self._run.id, "status": "processing", "started_at": event.at.isoformat()})
            case Completed():
                return _event(b"completed", self._render(self._run.prediction, self.files))


def _event(name: bytes, data: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name, _encode(data))
