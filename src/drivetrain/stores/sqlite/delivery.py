"""Webhook deliveries."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from drivetrain.model.prediction import PredictionId
from drivetrain.platform.delivery import Delivery, DeliveryId, DeliveryState
from drivetrain.stores.codec import optional_microseconds, optional_moment, to_microseconds, to_moment
from drivetrain.stores.sqlite.database import Database
from drivetrain.stores.sqlite.statements import delivery_statements


class SqliteDeliveryStore:
    """Keeps deliveries in a database. Those of ends are added by ``SqliteQueueStore``, in the transaction of the end."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = delivery_statements()

    async def add(self, delivery: Delivery) -> None:
        """Queue a delivery."""
        await self._database.write(lambda connection: add_delivery(connection, delivery))

    async def due(self, *, now: datetime, limit: int) -> list[Delivery]:
        """Pending deliveries whose time has come, longest due first."""
        return await self._select("due", {"now": to_microseconds(now), "limit": limit})

    async def next_due(self) -> datetime | None:
        """When the next pending delivery is due."""
        rows = await self._database.fetch(self._sql["next_due"])
        return to_moment(rows[0][0]) if rows else None

    async def put(self, delivery: Delivery) -> None:
        """Replace the value kept under its id."""
        await self._database.execute(self._sql["put"], _to_row(delivery))

    async def get(self, delivery_id: DeliveryId) -> Delivery | None:
        """A delivery by its id."""
        found = await self._select("get", {"id": delivery_id})
        return found[0] if found else None

    async def find(
        self, *, prediction: PredictionId | None = None, state: DeliveryState | None = None, limit: int = 100
    ) -> list[Delivery]:
        """Deliveries, newest first."""
        parameters = {"prediction": prediction, "state": state.value if state else None, "limit": limit}
        if prediction is not None:
            return await self._select("find_of_prediction", parameters)
        return await self._select("find_failed" if state is DeliveryState.FAILED else "find", parameters)

    async def forget(self, *, created_before: datetime, limit: int = 1000) -> int:
        """Forget deliveries that are not pending; how many."""
        parameters = {"created_before": to_microseconds(created_before), "limit": limit}
        return await self._database.execute(self._sql["forget"], parameters)

    async def _select(self, statement: str, parameters: Mapping[str, Any]) -> list[Delivery]:
        rows = await self._database.fetch(self._sql[statement], parameters)
        return [_to_delivery(row) for row in rows]


def add_delivery(connection: sqlite3.Connection, delivery: Delivery) -> None:
    """Queue a delivery, as part of somebody's transaction."""
    connection.execute(delivery_statements()["add"], _to_row(delivery))


def _to_row(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "prediction": delivery.prediction,
        "url": delivery.url,
        "event": delivery.event,
        "gateway": delivery.gateway,
        "created_at": to_microseconds(delivery.created_at),
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "next_at": optional_microseconds(delivery.next_at),
        "answer": delivery.answer,
    }


def _to_delivery(row: Sequence[Any]) -> Delivery:
    delivery_id, prediction, url, event, gateway, created_at, state, attempts, next_at, answer = row
    return Delivery(
        id=delivery_id,
        prediction=prediction,
        url=url,
        event=event,
        gateway=gateway,
        created_at=to_moment(created_at),
        state=DeliveryState(state),
        attempts=attempts,
        next_at=optional_moment(next_at),
        answer=answer,
    )
