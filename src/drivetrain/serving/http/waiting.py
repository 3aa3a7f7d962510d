"""Wait for a prediction's end, but not longer than the client does."""

from __future__ import annotations

import asyncio
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


async def wait_for_end(run: Run, exchange: Exchange, limit: timedelta | None) -> Outcome:
    """Wait until the prediction ends, the time is up, or the client hangs up.

    Args:
        run: What to wait for.
        exchange: Whose client waits; its body has been read.
        limit: ``None`` is for ever.
    """
    if run.is_finished:
        return Outcome.FINISHED
    if limit is not None and not limit:
        return Outcome.TIME_IS_UP
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Outcome] = loop.create_future()

    def settle(reason: Outcome) -> None:
        if not outcome.done():
            outcome.set_result(reason)

    def watch(event: Event) -> None:
        if isinstance(event, Completed):
            settle(Outcome.FINISHED)

    disconnect = loop.create_task(exchange.disconnected())
    disconnect.add_done_callback(lambda _task: settle(Outcome.CLIENT_GONE))
    timer = loop.call_later(limit.total_seconds(), settle, Outcome.TIME_IS_UP) if limit is not None else None
    try:
        with run.watched(watch):
            return await outcome
    finally:
        disconnect.cancel()
        if timer is not None:
            timer.cancel()
