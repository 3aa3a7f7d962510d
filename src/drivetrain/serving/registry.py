"""The runs a model server knows: those under way, and the latest that have ended."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime, timedelta

from drivetrain.serving.run import Run


class Registry:
    """Runs by id. A run that has ended is kept until it is too old, too many have ended since, or they take too much memory.

    Args:
        keep: How many ended runs to keep; the latest is kept in any case, unless this is 0.
        keep_for: How long to keep one.
        keep_bytes: How much memory those kept may take.
    """

    def __init__(self, *, keep: int, keep_for: timedelta, keep_bytes: int = 256 * 1024**2) -> None:
        self._keep = keep
        self._keep_for = keep_for
        self._keep_bytes = keep_bytes
        self._weight = 0
        self._open: dict[str, Run] = {}
        self._ended: OrderedDict[str, Run] = OrderedDict()

    def add(self, run: Run) -> None:
        """Take in a run that is under way; one of the same id that has ended is forgotten."""
        if (previous := self._ended.get(run.id)) is not None:
            self._forget(previous)
        self._open[run.id] = run

    def end(self, run: Run, now: datetime) -> None:
        """Move a run to those that have ended, and forget what need not be kept any longer."""
        del self._open[run.id]
        self._ended[run.id] = run
        self._weight += run.weight
        while self._ended and self._must_forget(oldest := next(iter(self._ended.values())), run, now):
            self._forget(oldest)

    def get(self, run_id: str, now: datetime) -> Run | None:
        """The run of that id, under way or ended."""
        if (ended := self._ended.get(run_id)) is not None and self._is_stale(ended, now):
            self._forget(ended)
        return self._open.get(run_id) or self._ended.get(run_id)

    def under_way(self) -> Iterator[Run]:
        """Runs that have not ended, oldest first."""
        return iter(list(self._open.values()))

    def known(self, now: datetime) -> Iterator[Run]:
        """Runs under way, then those that have ended; each oldest first."""
        for run in [run for run in self._ended.values() if self._is_stale(run, now)]:
            self._forget(run)
        return iter([*self._open.values(), *self._ended.values()])

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._open)

    def _forget(self, run: Run) -> None:
        del self._ended[run.id]
        self._weight -= run.weight
        run.discard_files()

    def _must_forget(self, oldest: Run, latest: Run, now: datetime) -> bool:
        if oldest is latest:
            return self._keep == 0
        return len(self._ended) > self._keep or self._weight > self._keep_bytes or self._is_stale(oldest, now)

    def _is_stale(self, run: Run, now: datetime) -> bool:
        completed_at = run.prediction.completed_at
        return completed_at is not None and now - completed_at > self._keep_for
