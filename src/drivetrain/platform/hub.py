"""What is under way right now: the live events of predictions, for those who wait and those who watch.

A prediction is in the hub from the moment somebody here runs it, waits for it or watches it, until nobody does. Readers keep their
own place in its list of events, so a slow one costs nobody anything; an attempt that is given up takes its events with it, and its
readers are told to begin anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import anyio

from drivetrain.model.prediction import Completed, Event, Prediction, PredictionId
from drivetrain.platform.app import AppName
from drivetrain.platform.queue import Submission
from drivetrain.platform.view import fold

#: So many events of a prediction are handed to a reader at once.
_BATCH = 256


@dataclass(frozen=True)
class Numbered:
    """An event with its place: the attempt, counted from 1, and its number within it, from 0."""

    attempt: int
    number: int
    event: Event


class Live:
    """One prediction under way. Made by the hub; changed only by who runs the prediction.

    Attributes:
        prediction: The fold over ``events``.
        attempt: Which attempt the events are of.
        is_ended: Whether its end has been stored and told.
    """

    def __init__(self, submission: Submission, *, streams: bool) -> None:
        self.submission = submission
        self.streams = streams
        self.attempt = 0
        self.is_ended = False
        self.events: list[Event] = []
        self.prediction: Prediction = fold(submission, (), streams=streams)
        self.users = 0
        self._changed: set[asyncio.Future[None]] = set()
        self._watchers: list[Callable[[Live, Event | None], None]] = []

    def begin(self, attempt: int) -> None:
        """Start over for another attempt."""
        self.attempt = attempt
        self.events = []
        self.prediction = fold(self.submission, (), streams=self.streams)
        self._tell(None)

    def apply(self, event: Event) -> None:
        """Add an event."""
        self.prediction.apply(event)
        self.events.append(event)
        if isinstance(event, Completed):
            self.is_ended = True
        self._tell(event)

    def wake(self) -> None:
        """Let everybody who waits look again."""
        self._tell(None)

    def watch(self, watcher: Callable[[Live, Event | None], None]) -> None:
        """Have ``watcher`` called with every event from now on, and with ``None`` when an attempt begins."""
        self._watchers.append(watcher)

    async def changed(self, seconds: float | None = None) -> bool:
        """Wait until something happens; whether it did in time."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed.add(future)
        try:
            with anyio.move_on_after(seconds):  # ``wait_for`` would lose a cancelation that comes together with the change
                await future
                return True
        finally:
            self._changed.discard(future)
        return False

    def _tell(self, event: Event | None) -> None:
        for future in self._changed:
            if not future.done():
                future.set_result(None)
        self._changed.clear()
        for watcher in self._watchers:
            watcher(self, event)


class Hub:
    """Owns the live predictions of this process.

    Attributes:
        is_closed: Whether nothing will happen to any of them any more, here: the platform is being stopped.
    """

    def __init__(self) -> None:
        self._live: dict[PredictionId, Live] = {}
        self.is_closed = False

    def __len__(self) -> int:
        return len(self._live)

    def find(self, prediction_id: PredictionId) -> Live | None:
        """A prediction that is under way or watched here."""
        return self._live.get(prediction_id)

    def of(self, app: AppName) -> list[Live]:
        """Those of one app."""
        return [live for live in self._live.values() if live.submission.app == app]

    @contextlib.contextmanager
    def using(self, submission: Submission, *, streams: bool) -> Iterator[Live]:
        """Keep a prediction in the hub until the block is left."""
        live = self._live.get(submission.id)
        if live is None:
            live = self._live[submission.id] = Live(submission, streams=streams)
        live.users += 1
        try:
            yield live
        finally:
            live.users -= 1
            if live.users == 0:
                self._live.pop(submission.id, None)

    def close(self) -> None:
        """Let those go who wait for a prediction or follow one: it is gone on with after the next start. May be called twice."""
        self.is_closed = True
        for live in self._live.values():
            live.wake()

    async def follow(self, live: Live, *, after: tuple[int, int] | None, keep_alive: float) -> AsyncIterator[list[Numbered]]:
        """Events in order until the end, or the hub's; an empty list whenever nothing happened for ``keep_alive`` seconds.

        Args:
            live: Of this prediction, which the caller keeps in the hub meanwhile.
            after: Continue after this (attempt, number); from the start if that attempt has been given up.
        """
        attempt, number = live.attempt, 0
        if after is not None and after[0] == live.attempt:
            number = after[1] + 1
        while True:
            if attempt != live.attempt:
                attempt, number = live.attempt, 0
            events = live.events[number : number + _BATCH]
            if events:
                yield [Numbered(attempt, number + index, event) for index, event in enumerate(events)]
                number += len(events)
            elif live.is_ended or self.is_closed:
                return
            elif not await live.changed(keep_alive):
                yield []
