"""Tells receivers what becomes of predictions.

That a prediction has ended is a delivery that the store keeps from the same transaction on that ended it: it is sent until it
arrives or is given up (``redelivery``), whatever happens to this process. A receiver may get it twice, with the same
``webhook-id``. What happens before the end is told as well as can be (``webhook_follower``).

A receiver that hangs holds up nobody else: only a few messages at a time go to one host, and while it does not answer, only a few
more of its deliveries wait here; the rest are put off in the store.
"""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.parse
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

import msgspec

from drivetrain.model.errors import DrivetrainError
from drivetrain.model.prediction import PredictionId
from drivetrain.model.project import Mode
from drivetrain.platform import redelivery
from drivetrain.platform.clock import Clock
from drivetrain.platform.delivery import Delivery, DeliveryId, DeliveryState
from drivetrain.platform.hub import Live
from drivetrain.platform.queue import Record
from drivetrain.platform.redelivery import Again, Delivered, Refused, Result, Unreached
from drivetrain.platform.secret import Vault
from drivetrain.platform.signing import new_secret, secret_of_owner
from drivetrain.platform.store import Store
from drivetrain.platform.tasks import Signal, Tasks
from drivetrain.platform.view import PredictionView, view
from drivetrain.platform.webhook_follower import FollowerPorts, WebhookFollower
from drivetrain.platform.webhook_sender import Message, WebhookSender
from drivetrain.serving.outgoing import Outgoing

_log = logging.getLogger(__name__)

#: Makes the body of a gateway's webhook: a JSON value.
Render: TypeAlias = Callable[[PredictionView], Awaitable[Any]]

#: The platform's own value that holds the secrets.
_SECRETS = "webhook_secrets"
_MOST_SECRETS = 2

_AT_ONCE = 64
_AT_ONCE_PER_HOST = 4
_HERE = 4000
_HERE_PER_HOST = 1000
_HERE_PER_AILING_HOST = 16
_BATCH = 200

#: How long what is too much for one host is put off.
_PUT_OFF = timedelta(seconds=30)

#: Looked at least so often, for the clock may have been set.
_LONGEST_SLEEP = timedelta(seconds=30)

#: How long messages that are under way may go on when this is stopped. What does not get through is sent after the next start.
_STOP_SECONDS = 5.0

#: How long an end waits for an earlier message to get through; longer than any takes.
_FOLLOWER_SECONDS = 20.0

_WRITE_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class WebhookPorts:
    """What webhooks need of others.

    Attributes:
        outgoing: Whom may be talked to.
        renders: By gateway, what makes the bodies; gateways may be added later.
        random: Spreads what is sent again.
        random_bytes: For secrets.
    """

    store: Store
    vault: Vault
    clock: Clock
    outgoing: Outgoing
    renders: Mapping[str, Render]
    random: Random
    random_bytes: Callable[[int], bytes]


class Webhooks:
    """Owns the deliveries that are under way, and the messages about predictions that run."""

    def __init__(self, ports: WebhookPorts) -> None:
        self._ports = ports
        self._sender = WebhookSender(ports.outgoing, ports.clock, self.secrets)
        self._follower_ports = FollowerPorts(render=self._render, send=self._send, spawn=self._spawn)
        self._followers: WeakValueDictionary[PredictionId, WebhookFollower] = WeakValueDictionary()
        self._loop = Tasks()
        self._tasks = Tasks()
        self._signal = Signal()
        self._here: dict[DeliveryId, str] = {}
        self._per_host: Counter[str] = Counter()
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._ailing: set[str] = set()
        self._all_turns = asyncio.Semaphore(_AT_ONCE)
        self._secrets: list[str] | None = None
        self._is_running = False
        self.delivered = 0
        self.given_up = 0

    def start(self) -> None:
        """Begin to deliver. May be called twice."""
        if not self._is_running:
            self._is_running = True
            self._loop.spawn_loop(self._round, "delivering webhooks")

    async def stop(self) -> None:
        """Deliver no more; what is under way gets a moment to arrive. May be called twice."""
        self._is_running = False
        await self._loop.aclose()
        await self._tasks.settle(_STOP_SECONDS)
        await self._tasks.aclose()

    def wake(self) -> None:
        """A delivery may have been queued."""
        self._signal.wake()

    def follow(self, live: Live) -> None:
        """Tell of a prediction while it runs, if that was ordered. May be called for each of its attempts."""
        order = live.submission.webhook
        if order is None or not self._is_running or not order.events - {"completed"}:
            return
        known = self._followers.get(live.submission.id)
        if known is None or known.live is not live:
            self._followers[live.submission.id] = WebhookFollower(live, order, self._follower_ports)

    async def resend(self, delivery: Delivery) -> Delivery:
        """Send a delivery again, from its first attempt on; the delivery as it is then."""
        if delivery.id in self._here:
            return delivery
        again = replace(delivery, state=DeliveryState.PENDING, attempts=0, next_at=self._ports.clock.now())
        await self._ports.store.deliveries.put(again)
        self.wake()
        return again

    async def secrets(self, owner: str = "") -> list[str]:
        """What an owner's messages are signed with, newest first."""
        return [secret_of_owner(secret, owner) for secret in await self._own_secrets()]

    async def _own_secrets(self) -> list[str]:
        """What the owners' secrets are derived from; made when first asked for."""
        if self._secrets is None:
            sealed = self._ports.vault.seal(json.dumps([new_secret(self._ports.random_bytes)]).encode())
            kept = await self._ports.store.secrets.put_value(_SECRETS, sealed)
            self._secrets = json.loads(self._ports.vault.open(kept))
        return list(self._secrets)

    async def replace_secret(self) -> list[str]:
        """Sign with new secrets, and with those before until they are replaced again; both, newest first."""
        secrets = [new_secret(self._ports.random_bytes), *await self._own_secrets()][:_MOST_SECRETS]
        await self._ports.store.secrets.put_value(_SECRETS, self._ports.vault.seal(json.dumps(secrets).encode()), replace=True)
        self._secrets = secrets
        return await self.secrets()

    # Which deliveries are sent

    async def _round(self) -> None:
        """Take what is due, and wait for the next."""
        now = self._ports.clock.now()
        room = min(_BATCH, _HERE - len(self._here))
        if room <= 0:
            await self._signal.wait(_LONGEST_SLEEP.total_seconds())
            return
        # What is here is still pending in the store, so it is among what is found.
        limit = len(self._here) + room
        found = await self._ports.store.deliveries.due(now=now + _LONGEST_SLEEP, limit=limit)
        new = [each for each in found if each.id not in self._here]
        due = [each for each in new if each.next_at is None or each.next_at <= now]
        put_off = [each for each in due if not self._take(each)]
        await asyncio.gather(*(self._put_off(each, now) for each in put_off))
        if due and len(found) == limit:
            return
        moments = [each.next_at for each in new if each.next_at is not None and each.next_at > now]
        await self._signal.wait(min((*(moment - now for moment in moments), _LONGEST_SLEEP)).total_seconds())

    def _take(self, delivery: Delivery) -> bool:
        """Send a delivery when its host's turn comes, unless too many wait for that."""
        host = _host(delivery.url)
        if self._per_host[host] >= (_HERE_PER_AILING_HOST if host in self._ailing else _HERE_PER_HOST):
            return False
        self._here[delivery.id] = host
        self._per_host[host] += 1
        self._spawn(self._deliver_in_turn(delivery, host), f"delivery {delivery.id}")
        return True

    async def _put_off(self, delivery: Delivery, now: datetime) -> None:
        delay = _PUT_OFF * (1 + self._ports.random.random())
        await self._ports.store.deliveries.put(replace(delivery, next_at=now + delay))

    async def _deliver_in_turn(self, delivery: Delivery, host: str) -> None:
        turns = self._turns.setdefault(host, asyncio.Semaphore(_AT_ONCE_PER_HOST))
        try:
            async with turns, self._all_turns:
                if self._is_running and host in self._ailing and self._per_host[host] > _HERE_PER_AILING_HOST:
                    await self._put_off(delivery, self._ports.clock.now())
                elif self._is_running:
                    await self._deliver(delivery, host)
        finally:
            del self._here[delivery.id]
            self._per_host[host] -= 1
            if not self._per_host[host]:
                del self._per_host[host]
                self._ailing.discard(host)
            self._signal.wake()

    # One delivery

    async def _deliver(self, delivery: Delivery, host: str) -> None:
        follower = self._followers.get(delivery.prediction)
        if follower is not None and delivery.event == "completed":
            await follower.finish(_FOLLOWER_SECONDS)
        result = await self._attempt(delivery)
        if isinstance(result, Unreached):
            self._ailing.add(host)
        else:
            self._ailing.discard(host)
        await self._keep(self._after(delivery, result))

    async def _attempt(self, delivery: Delivery) -> Result:
        try:
            record = await self._ports.store.queue.get(delivery.prediction)
            if record is None:
                return Refused(reason="the prediction is no longer known")
            if delivery.gateway not in self._ports.renders:
                return Refused(reason=f"there is no gateway '{delivery.gateway}' any more")
            seen = view(record, None, streams=await self._streams(record))
            trace = record.submission.trace
            message = Message(
                id=delivery.id,
                url=delivery.url,
                body=await self._render(delivery.gateway, seen),
                owner=record.submission.webhook.owner if record.submission.webhook is not None else "",
                headers={"traceparent": trace} if trace else {},
            )
            return await self._send(message)
        except DrivetrainError as error:
            return Unreached(reason=error.message)
        except Exception:  # noqa: BLE001 (our own bug with one delivery must not keep it from being written down)
            _log.exception("delivery %s cannot be made", delivery.id)
            return Unreached(reason="an internal error, which is in the platform's log")

    def _after(self, delivery: Delivery, result: Result) -> Delivery:
        tried = replace(delivery, attempts=delivery.attempts + 1, answer=redelivery.describe(result))
        match redelivery.decide(result, attempts=tried.attempts, chance=self._ports.random.random()):
            case Delivered():
                self.delivered += 1
                return replace(tried, state=DeliveryState.DELIVERED, next_at=None)
            case Again(after=after):
                return replace(tried, next_at=self._ports.clock.now() + after)
            case _:
                self.given_up += 1
                _log.warning("delivery %s to '%s' is given up: %s", delivery.id, _without_query(delivery.url), tried.answer)
                return replace(tried, state=DeliveryState.FAILED, next_at=None)

    async def _keep(self, delivery: Delivery) -> None:
        """Write down what became of a delivery. Until that has worked it is not sent again."""
        while True:
            try:
                return await self._ports.store.deliveries.put(delivery)
            except DrivetrainError as error:
                _log.error("what became of delivery %s cannot be written: %s", delivery.id, error.message)
                await asyncio.sleep(_WRITE_AGAIN_SECONDS)

    async def _streams(self, record: Record) -> bool:
        if record.submission.streams:
            return True
        revision = await self._ports.store.apps.get_revision(record.submission.revision)
        if revision is None:
            return False
        signature = revision.signature if record.submission.mode is Mode.PREDICT else revision.train_signature
        return signature is not None and signature.streams

    async def _render(self, gateway: str, seen: PredictionView) -> bytes:
        return msgspec.json.encode(await self._ports.renders[gateway](seen))

    async def _send(self, message: Message) -> Result:
        return await self._sender.send(message)

    def _spawn(self, work: Any, name: str) -> asyncio.Task[None]:
        return self._tasks.spawn(work, name)


def _host(url: str) -> str:
    try:
        return urllib.parse.urlsplit(url).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""


def _without_query(url: str) -> str:
    """A URL for the log: receivers' secrets are often in the query."""
    return url.partition("?")[0]
