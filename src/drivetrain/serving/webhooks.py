"""Tell a URL what becomes of a prediction.

For each prediction one task sends one notification after the other, so their order is that of the events. What is sent is
always the prediction as it is now: events that come while a notification is under way are told together in the next. The last
one says that the prediction has completed; it alone is sent again until it is taken or the attempts are used up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

import msgspec

from drivetrain.model.errors import DrivetrainError
from drivetrain.model.prediction import Completed, Event, Log, Output, Started
from drivetrain.serving.run import Run

if TYPE_CHECKING:
    import httpx

#: Cog's policy: 12 attempts, 100 ms doubling; these answers and network errors are worth another.
_ATTEMPTS = 12
_FIRST_DELAY = timedelta(milliseconds=100)
_WORTH_RETRYING = frozenset({429, 500, 502, 503, 504})
_REQUEST_SECONDS = 30.0


class WebhookEvent(str, Enum):
    """What a client may ask to be told."""

    START = "start"
    OUTPUT = "output"
    LOGS = "logs"
    COMPLETED = "completed"


ALL_EVENTS = frozenset(WebhookEvent)


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """Where a prediction's notifications go.

    Attributes:
        url: As the client gave it.
        events: What the client wants to be told.
        headers: Sent along, such as the trace context of the request.
    """

    url: str
    events: frozenset[WebhookEvent] = ALL_EVENTS
    headers: Mapping[str, str] = {}


class WebhookOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to notify.

    Attributes:
        interval: Least time between two notifications about output or logs.
        token: Sent as a bearer token.
        drain: How long a stopping server waits for notifications that are under way.
    """

    interval: timedelta = timedelta(milliseconds=500)
    token: str | None = None
    drain: timedelta = timedelta(seconds=10)


class Webhooks:
    """Owns the notifications of all predictions of a server.

    Args:
        options: How to notify.
        client: Makes the client when it is first needed.
        render: Makes the body.
        problem: Told when a completion could not be delivered.
    """

    def __init__(
        self,
        options: WebhookOptions,
        *,
        client: Callable[[], httpx.AsyncClient],
        render: Callable[[Any], Awaitable[dict[str, Any]]],
        problem: Callable[[str], None],
    ) -> None:
        self._options = options
        self._client = client
        self._render = render
        self._problem = problem
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, run: Run, webhook: Webhook) -> None:
        """Notify about a run from now to its end."""
        notifier = _Notifier(self, run, webhook)
        run.add_watcher(notifier.watch)
        task = asyncio.get_running_loop().create_task(notifier.notify())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Wait for notifications under way, within the bound, and give up the rest. May be called twice."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._options.drain.total_seconds())
            for task in late:
                task.cancel()
            if late:
                self._problem(f"{len(late)} webhooks were not delivered before the server stopped")
                await asyncio.wait(late)

    async def send(self, run: Run, webhook: Webhook) -> None:
        """Send the prediction as it is now, once; whatever comes of it."""
        try:
            await self._post(run, webhook)
        except DrivetrainError as error:
            self._problem(f"webhook of prediction '{run.id}' not sent: {error.message}")

    async def send_completion(self, run: Run, webhook: Webhook) -> None:
        """Send the ended prediction until it is taken."""
        delay = _FIRST_DELAY
        outcome = ""
        for _ in range(_ATTEMPTS):
            try:
                outcome = await self._post(run, webhook)
            except DrivetrainError as error:
                outcome = error.message
                break
            if not outcome:
                return
            if not outcome.startswith("retry: "):
                break
            await asyncio.sleep(delay.total_seconds())
            delay *= 2
        self._problem(f"webhook of prediction '{run.id}' to '{webhook.url}' not delivered: {outcome.removeprefix('retry: ')}")

    async def _post(self, run: Run, webhook: Webhook) -> str:
        """Empty when it was taken, else why not; begins with ``retry:`` when another attempt may help."""
        import httpx

        headers = {**webhook.headers, "Content-Type": "application/json"}
        if self._options.token:
            headers["Authorization"] = f"Bearer {self._options.token}"
        body = msgspec.json.encode(await self._render(run.prediction))
        try:
            response = await self._client().post(webhook.url, content=body, headers=headers, timeout=_REQUEST_SECONDS)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError) as error:  # ValueError: a host that is no name
            return f"it is not a URL that can be called: {error}"
        except httpx.HTTPError as error:
            return f"retry: {str(error) or type(error).__name__}"
        if response.request.method != "POST":  # some redirects are followed with a GET
            return f"it redirected the webhook to '{response.url.copy_with(query=None)}' with a status that drops the body"
        if response.status_code in _WORTH_RETRYING:
            return f"retry: it answered {response.status_code}"
        return "" if response.status_code < 400 else f"it answered {response.status_code}"

    @property
    def interval(self) -> float:
        """Least seconds between two notifications about output or logs."""
        return self._options.interval.total_seconds()


class _Notifier:
    """One prediction's notifications."""

    def __init__(self, webhooks: Webhooks, run: Run, webhook: Webhook) -> None:
        self._webhooks = webhooks
        self._run = run
        self._webhook = webhook
        self._is_due = asyncio.Event()
        self._has_completed = asyncio.Event()

    def watch(self, event: Event) -> None:
        """Note what has happened; the task tells it."""
        match event:
            case Completed():
                self._has_completed.set()
                self._is_due.set()
            case Started() if WebhookEvent.START in self._webhook.events:
                self._is_due.set()
            case Output() if WebhookEvent.OUTPUT in self._webhook.events:
                self._is_due.set()
            case Log() if WebhookEvent.LOGS in self._webhook.events:
                self._is_due.set()

    async def notify(self) -> None:
        """Send one notification after the other until the completion has been told."""
        with self._run.kept():
            await self._tell_all()

    async def _tell_all(self) -> None:
        while not self._has_completed.is_set():
            await self._is_due.wait()
            if self._has_completed.is_set():
                break
            self._is_due.clear()
            await self._webhooks.send(self._run, self._webhook)
            await self._pause()
        if WebhookEvent.COMPLETED in self._webhook.events:
            await self._webhooks.send_completion(self._run, self._webhook)

    async def _pause(self) -> None:
        """Let further output and logs gather; the completion does not wait for it."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._has_completed.wait(), self._webhooks.interval)
