"""Wait for a prediction's end, but not longer than the client does; without a task for each client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from enum import Enum

from drivetrain.model.prediction import Completed, Event
from drivetrain.serving.http.exchange import Exchange
from drivetrain.serving.run import Run


class Outcome(Enum):
    """Why the waiting is over."""

    FINISHED = "finished"
    TIME_IS_UP = "time is up"
    CLIENT_GONE = "client gone"


def wait_for_end(run: Run, exchange: Exchange, limit: timedelta | None, then: Callable[[Outcome], None]) -> None:
    """Call ``then``, once, when the prediction has ended, the time is up, or the client has hung up; at once if that is so.

    Args:
        run: What to wait for.
        exchange: Whose client waits.
        limit: ``None`` is for ever.
        then: Must raise nothing: it is called while the prediction's event is told to everybody.
    """
    if run.is_finished:
        then(Outcome.FINISHED)
    elif limit is not None and not limit:
        then(Outcome.TIME_IS_UP)
    elif exchange.is_client_gone:
        then(Outcome.CLIENT_GONE)
    else:
        _Waiting(run, exchange, limit, then)


class _Waiting:
    __slots__ = ("_exchange", "_run", "_then", "_timer")

    def __init__(self, run: Run, exchange: Exchange, limit: timedelta | None, then: Callable[[Outcome], None]) -> None:
        self._run = run
        self._exchange = exchange
        self._then = then
        self._timer: asyncio.TimerHandle | None = None
        if limit is not None:
            self._timer = asyncio.get_running_loop().call_later(limit.total_seconds(), self._settle, Outcome.TIME_IS_UP)
        exchange.on_client_gone(self._lose_client)
        run.add_watcher(self._watch)

    def _watch(self, event: Event) -> None:
        if isinstance(event, Completed):
            self._settle(Outcome.FINISHED)

    def _lose_client(self) -> None:
        self._settle(Outcome.CLIENT_GONE)

    def _settle(self, outcome: Outcome) -> None:
        self._run.remove_watcher(self._watch)
        self._exchange.on_client_gone(None)
        if self._timer is not None:
            self._timer.cancel()
        self._then(outcome)
