"""The runs a model server knows: those under way, and the latest that have ended."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime, timedelta

from drivetrain.serving.run import Run


class Registry:
    """Runs by id. A run that has ended is kept until it is too old or too many have ended since.

    Args:
        keep: How many ended runs to keep.
        keep_for: How long to keep one.
    """

    def __init__(self, *, keep: int, keep_for: timedelta) -> None:
        self._keep = keep
        self._keep_for = keep_for
        self._open: dict[str, Run] = {}
        self._ended: OrderedDict[str, Run] = OrderedDict()

    def add(self, run: Run) -> None:
        """Take in a run that is under way; one of the same id that has ended is forgotten."""
        if (previous := self._ended.pop(run.id, None)) is not None:
            previous.discard_files()
        self._open[run.id] = run

    def end(self, run: Run, now: datetime) -> None:
        """Move a run to those that have ended, and forget what need not be kept any longer."""
        del self._open[run.id]
        self._ended[run.id] = run
        while self._must_forget(oldest := next(iter(self._ended.values())), run, now):
            del self._ended[oldest.id]
            oldest.discard_files()

    def get(self, run_id: str) -> Run | None:
        """The run of that id, under way or ended."""
        return self._open.get(run_id) or self._ended.get(run_id)

    def under_way(self) -> Iterator[Run]:
        """Runs that have not ended, oldest first."""
        return iter(list(self._open.values()))

    def known(self) -> Iterator[Run]:
        """Runs under way, then those that have ended; each oldest first."""
        return iter([*self._open.values(), *self._ended.values()])

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._open)

    def _must_forget(self, oldest: Run, latest: Run, now: datetime) -> bool:
        if oldest is latest:
            return False
        completed_at = oldest.prediction.completed_at
        return len(self._ended) > self._keep or (completed_at is not None and now - completed_at > self._keep_for)
