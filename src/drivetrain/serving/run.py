"""A prediction on its way: its record, its latest events, who watches it, and where its files are."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from drivetrain.model.json_value import weigh
from drivetrain.model.prediction import Completed, Event, Failure, Log, Output, Prediction, Status

Watcher: TypeAlias = Callable[[Event], None]

#: So many of the latest events are kept for those who follow: they read at the end of each turn of the event loop what has happened
#: in it. A turn brings what one read from a worker holds, which is hardly ever more.
_FOLLOWED_EVENTS = 1024


def now() -> datetime:
    """The present, aware and in UTC."""
    return datetime.now(timezone.utc)


class Passage(Protocol):
    """What stands between a worker and a prediction's record, such as the upload of output files."""

    def deliver(self, event: Event) -> None:
        """Take an event; sooner or later, in order, it or what became of it is applied to the record."""


class Run:
    """Owns one prediction's record while it is under way, and its directory for as long as the record is kept.

    Args:
        prediction: The record; changed only through ``apply``.
        inputs: Checked JSON inputs; file places hold URLs or paths until they have been fetched, then the paths in ``fetched``.
        directory: Where its input and output files go; made only when there are any.
        history: How many of its latest events are told to those who come late.
        ended: Called when it has ended, after everybody who watches it has been told.

    Attributes:
        attendants: How many clients wait for it; one that nobody waits for any more can be canceled.
        weight: About how many bytes of memory its outputs and logs take, and once it has ended its inputs.
        waiting_since: When it was submitted, by the monotonic clock.
        ends_with_its_clients: Whether it is canceled when the last client that waited for it has gone.
    """

    def __init__(
        self,
        prediction: Prediction,
        inputs: dict[str, Any],
        directory: str,
        *,
        history: int = 1024,
        ended: Callable[[Run], None] = lambda _run: None,
    ) -> None:
        self.prediction = prediction
        self.inputs = inputs
        self.fetched: list[str] = []
        self._directory = directory  # a text, since most predictions never need the path
        self.cancel_requested = False
        self.has_files = False
        self.passage: Passage | None = None
        self.attendants = 0
        self.weight = 0
        self.waiting_since = 0.0
        self.ends_with_its_clients = False
        self._readers = 0
        self._is_discarded = False
        self._history = history
        self._events: deque[Event] = deque(maxlen=max(history, _FOLLOWED_EVENTS))
        self._watchers: list[Watcher] = []
        self._finished: asyncio.Event | None = None
        self._ended = ended

    @property
    def id(self) -> str:
        """The prediction's id."""
        return self.prediction.id

    @property
    def input_directory(self) -> Path:
        """Where input files go."""
        return Path(self._directory, "inputs")

    @property
    def output_directory(self) -> str:
        """Where the worker puts output files."""
        return f"{self._directory}/outputs"

    @property
    def is_finished(self) -> bool:
        """Whether the prediction has its final status."""
        return self.prediction.completed_at is not None

    def deliver(self, event: Event) -> None:
        """Take an event from the worker."""
        if self.passage is None:
            self.apply(event)
        else:
            self.passage.deliver(event)

    def apply(self, event: Event) -> None:
        """Fold an event into the record and tell the watchers.

        What comes after the end (the worker of a prediction that was given up may still talk) is dropped.
        """
        if self.is_finished:
            return
        if isinstance(event, Output) and event.output.files:
            self.has_files = True
        self.prediction.apply(event)
        self._events.append(event)
        try:
            for watcher in tuple(self._watchers):
                watcher(event)
        finally:  # a watcher's fault is no reason to believe that it still runs
            if isinstance(event, Completed):
                self._end()
            elif isinstance(event, Output):
                self.weight += weigh(event.output.value)
            elif isinstance(event, Log):
                self.weight += len(event.data)

    def _end(self) -> None:
        self.weight += weigh(self.prediction.input)
        self._watchers.clear()  # they mostly hold this run, which would then have to wait for the garbage collector
        if self._finished is not None:
            self._finished.set()
        self._ended(self)

    def complete(self, status: Status, failure: Failure | None = None) -> None:
        """End the prediction now, unless it has ended."""
        self.apply(Completed(status=status, at=now(), failure=failure))

    def fail(self, message: str, *, worker_lost: bool = False) -> None:
        """End the prediction as failed, unless it has ended."""
        self.complete(Status.FAILED, Failure(message=message, worker_lost=worker_lost))

    @property
    def first_for_latecomers(self) -> int:
        """The number of the first event that is told to those who come now. How it ended is told in any case."""
        told = max(self._history, 1) if self.is_finished else self._history
        return max(0, self.prediction.event_count - told)

    def events_from(self, number: int) -> tuple[int, list[Event]]:
        """Events from a number on, and how many of those asked for are no longer kept."""
        first = self.prediction.event_count - len(self._events)
        latest = list(islice(reversed(self._events), max(0, self.prediction.event_count - max(first, number))))
        return max(0, first - number), latest[::-1]  # counted from the end: readers ask for the last few of many

    def add_watcher(self, watcher: Watcher) -> None:
        """Have ``watcher`` called with every event from now on, in order, in the event loop."""
        self._watchers.append(watcher)

    def remove_watcher(self, watcher: Watcher) -> None:
        """Have ``watcher`` called no more. May be called after the end, when no watcher is left."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)

    def at_end(self, action: Callable[[], None]) -> None:
        """Have ``action`` called when the prediction ends, or now if it has ended."""
        if self.is_finished:
            action()
        else:
            self.add_watcher(lambda event: action() if isinstance(event, Completed) else None)

    @contextlib.contextmanager
    def watched(self, watcher: Watcher) -> Iterator[None]:
        """``add_watcher``, until the block is left."""
        self.add_watcher(watcher)
        try:
            yield
        finally:
            self.remove_watcher(watcher)

    def keep(self) -> None:
        """Keep the files until ``release``, whoever discards them meanwhile. Counts."""
        self._readers += 1

    def release(self) -> None:
        """End one ``keep``."""
        self._readers -= 1
        if self._is_discarded:
            self.discard_files()

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """``keep``, until the block is left."""
        self.keep()
        try:
            yield
        finally:
            self.release()

    async def finished(self) -> Prediction:
        """Wait for the end; may be awaited by many."""
        if not self.is_finished:
            if self._finished is None:
                self._finished = asyncio.Event()
            await self._finished.wait()
        return self.prediction

    def discard_inputs(self) -> None:
        """Delete the input files: nobody needs them after the end."""
        _remove(self.input_directory)

    def discard_files(self) -> None:
        """Delete the run's directory, if it can hold anything, once nobody reads in it. May be called twice."""
        self._is_discarded = True
        if not self._readers and (self.has_files or self.prediction.status is not Status.SUCCEEDED):
            _remove(self._directory)


def _remove(directory: str | Path) -> None:
    import shutil  # takes milliseconds, and is not needed where no prediction has files

    shutil.rmtree(directory, ignore_errors=True)
