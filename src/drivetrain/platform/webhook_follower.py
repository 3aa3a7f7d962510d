"""Tells a receiver what happens to a prediction while it runs.

Best effort: what is told is the prediction as it is then, and what comes while a message is under way, or within half a second
after it, is told together in the next. Nothing is told after the end; that is a durable delivery, which waits for ``finish``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import anyio

from drivetrain.model.prediction import Event, Log, Output, Started
from drivetrain.platform.hub import Live
from drivetrain.platform.queue import Record, WebhookOrder
from drivetrain.platform.redelivery import Answered, Result, Unreached
from drivetrain.platform.view import PredictionView, view
from drivetrain.platform.webhook_sender import Message

_NAMES: Mapping[type[Event], str] = {Started: "start", Output: "output", Log: "logs"}

#: Least time between two messages about one prediction.
_INTERVAL_SECONDS = 0.5

#: A message that did not arrive is sent again so often, unless there is something newer to tell.
_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class FollowerPorts:
    """What following a prediction needs.

    Attributes:
        render: Makes the body that a gateway promises.
        send: Sends a message once.
        spawn: Has work done in the background.
    """

    render: Callable[[str, PredictionView], Awaitable[bytes]]
    send: Callable[[Message], Awaitable[Result]]
    spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class WebhookFollower:
    """One prediction's messages while it runs. Lives as long as the live prediction does."""

    def __init__(self, live: Live, order: WebhookOrder, ports: FollowerPorts) -> None:
        self.live = live
        self._order = order
        self._ports = ports
        self._begun: PredictionView | None = None
        self._has_news = False
        self._is_over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        live.watch(self._watch)

    async def finish(self, seconds: float) -> None:
        """Tell nothing more that has not begun to be told, and wait for what has."""
        self._is_over.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=seconds)

    def _watch(self, live: Live, event: Event | None) -> None:
        if event is None or _NAMES.get(type(event)) not in self._order.events or self._is_over.is_set():
            return
        if isinstance(event, Started):
            self._begun = _view(live)  # told as it was then: that it began is told even of one that ends at once
        else:
            self._has_news = True
        if self._task is None:
            self._task = self._ports.spawn(self._tell(), f"telling of prediction {live.submission.id}")

    async def _tell(self) -> None:
        try:
            while (news := self._next()) is not None:
                await self._tell_once(news)
                with anyio.move_on_after(_INTERVAL_SECONDS):
                    await self._is_over.wait()
        finally:
            self._task = None

    def _next(self) -> PredictionView | None:
        begun, self._begun = self._begun, None
        if begun is not None:
            return begun
        has_news, self._has_news = self._has_news, False
        return _view(self.live) if has_news and self._may_tell else None

    @property
    def _may_tell(self) -> bool:
        return not self._is_over.is_set() and not self.live.prediction.status.is_terminal

    async def _tell_once(self, news: PredictionView) -> None:
        submission = self.live.submission
        message = Message(
            id=f"{submission.id}.{news.attempt}.{news.event_count}",
            url=self._order.url,
            body=await self._ports.render(self._order.gateway, news),
            owner=self._order.owner,
            headers={"traceparent": submission.trace} if submission.trace else {},
        )
        for _ in range(_ATTEMPTS):
            result = await self._ports.send(message)
            is_worth_another = isinstance(result, Unreached) or (isinstance(result, Answered) and result.status >= 500)
            if not is_worth_another or self._has_news or not self._may_tell:
                return
            with anyio.move_on_after(_INTERVAL_SECONDS):
                await self._is_over.wait()


def _view(live: Live) -> PredictionView:
    prediction = live.prediction
    record = Record(submission=live.submission, status=prediction.status, attempts=live.attempt, started_at=prediction.started_at)
    return view(record, prediction, streams=live.streams)
