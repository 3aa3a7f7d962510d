"""Webhook deliveries: kept beside the predictions they tell of, sent again until they arrive or are given up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import NewType, Protocol

from drivetrain.model.prediction import PredictionId

DeliveryId = NewType("DeliveryId", str)


class DeliveryState(str, Enum):
    """Where a delivery is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"  #: given up; can be sent again by hand


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One message to one receiver.

    Attributes:
        id: Also the ``webhook-id`` header, the same at every attempt.
        event: ``start``, ``output``, ``logs`` or ``completed``.
        gateway: Which protocol renders the body.
        attempts: How often it was sent.
        next_at: When it is sent next; ``None`` once it is not pending.
        answer: The last answer's status, or what went wrong.
    """

    id: DeliveryId
    prediction: PredictionId
    url: str
    event: str
    gateway: str
    created_at: datetime
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    next_at: datetime | None = None
    answer: str | None = None


class DeliveryStore(Protocol):
    """Keeps deliveries. ``QueueStore`` adds those of a prediction's end (event ``completed``, if the order names it) by itself: in
    ``complete``, and wherever else it ends one."""

    async def add(self, delivery: Delivery) -> None:
        """Queue a delivery."""

    async def due(self, *, now: datetime, limit: int) -> list[Delivery]:
        """Pending deliveries whose time has come, longest due first."""

    async def next_due(self) -> datetime | None:
        """When the next pending delivery is due."""

    async def put(self, delivery: Delivery) -> None:
        """Replace the value kept under its id."""

    async def get(self, delivery_id: DeliveryId) -> Delivery | None:
        """A delivery by its id."""

    async def find(
        self, *, prediction: PredictionId | None = None, state: DeliveryState | None = None, limit: int = 100
    ) -> list[Delivery]:
        """Deliveries, newest first."""

    async def forget(self, *, created_before: datetime, limit: int = 1000) -> int:
        """Forget deliveries that are not pending; how many."""
