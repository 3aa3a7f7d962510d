"""The durable queue. What moves a prediction from one state to the next is one statement that checks the state it moves from.

A token is a prediction's number and how often it has been claimed. Both only grow, so a token that was replaced never holds again.
"""

from __future__ import annotations

import heapq
import itertools
import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime

from drivetrain.model.errors import InternalError
from drivetrain.model.prediction import TERMINAL, Completed, Event, PredictionId, Status
from drivetrain.model.project import Mode
from drivetrain.platform.app import AppName, RevisionId
from drivetrain.platform.queue import (
    CancelResult,
    Claim,
    Claimant,
    ClaimToken,
    KeyReused,
    Load,
    Outcome,
    PredictionQuery,
    QueueFull,
    Record,
    Submission,
    Submitted,
)
from drivetrain.stores.codec import EARLIEST, LATEST, optional_microseconds, pack_events, to_microseconds, to_moment
from drivetrain.stores.ending import NOT_STARTED_IN_TIME, canceled, delivery_of_end, given_up, taken_back
from drivetrain.stores.sqlite.database import Database
from drivetrain.stores.sqlite.delivery import add_delivery
from drivetrain.stores.sqlite.record import Row, pack_history, pack_request, to_record, to_row, webhook_of
from drivetrain.stores.sqlite.statements import queue_statements

_TOKEN = re.compile(r"(\d{1,18})\.(\d{1,18})", re.ASCII)

#: Positions are counted no further.
_FARTHEST = 10_000


class SqliteQueueStore:
    """Keeps predictions in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queue_statements()

    # Accepting

    async def submit(self, submission: Submission, *, queue_limit: int, claimant: Claimant | None = None) -> Submitted:
        """Accept a prediction.

        Raises:
            QueueFull: ``queue_limit`` predictions of the app wait. (One accepted earlier under the same key is returned even then.)
            KeyReused: Its idempotency key was used with another fingerprint.
        """
        row = to_row(submission)
        request = pack_request(submission)

        def accept(connection: sqlite3.Connection) -> Submitted:
            if submission.idempotency_key is not None and (earlier := self._earlier(connection, row, submission.fingerprint)):
                return Submitted(record=earlier, is_new=False)
            queue, lane, is_blocked = self._find_place(connection, submission, row, queue_limit, lets_go=claimant is not None)
            claimed = claimant if not is_blocked else None
            number = self._add(connection, {**row, "queue": queue, "lane": lane, **_claim_columns(claimed)}, request)
            if claimed is None:
                return Submitted(record=Record(submission=submission, status=Status.STARTING), is_new=True)
            record = Record(submission=submission, status=Status.PROCESSING, attempts=1, runner=claimed.runner)
            return Submitted(record=record, is_new=True, claim=Claim(token=_token(number, 1), record=record))

        return await self._database.write(accept)

    async def accepted_earlier(self, app: AppName, *, caller: str, idempotency_key: str, fingerprint: str) -> Record | None:
        """The prediction that ``submit`` would return for this key; ``None`` if it would accept a new one.

        Raises:
            KeyReused: The key was used with another fingerprint.
        """
        row = {"owner": app.owner, "name": app.name, "caller": caller, "idempotency_key": idempotency_key}
        return await self._database.read(lambda connection: self._earlier(connection, row, fingerprint))

    def _earlier(self, connection: sqlite3.Connection, row: Row, fingerprint: str) -> Record | None:
        found = _one(connection.execute(self._sql["find_by_idempotency_key"], row))
        if found is None:
            return None
        record = to_record(found)
        if record.submission.fingerprint != fingerprint:
            raise KeyReused(row["idempotency_key"])
        return record

    def _find_place(
        self, connection: sqlite3.Connection, submission: Submission, row: Row, queue_limit: int, *, lets_go: bool
    ) -> tuple[int, int, bool]:
        """The queue and lane of a submission, and whether something waits before it."""
        if lets_go:
            connection.execute(self._sql["let_go"], {"now": row["created_at"]})
        found = connection.execute(self._sql["find_lane"], row).fetchone()
        queue, lane, waiting, is_blocked = found or (None, None, 0, False)
        if waiting >= queue_limit:
            raise QueueFull(submission.app, queue_limit)
        if queue is None:
            queue = connection.execute(self._sql["add_queue"], row).lastrowid
        if lane is None:
            lane = connection.execute(self._sql["add_lane"], {**row, "queue": queue}).lastrowid
        return int(queue or 0), int(lane or 0), bool(is_blocked)

    def _add(self, connection: sqlite3.Connection, row: Row, request: tuple[bytes, bytes | None, bytes]) -> int:
        try:
            number = connection.execute(self._sql["add_prediction"], row).lastrowid
        except sqlite3.IntegrityError as error:
            raise InternalError(f"prediction '{row['id']}' was accepted before") from error
        assert number is not None
        connection.execute(self._sql["add_request"], (number, *request))
        return number

    # Running

    async def claim(
        self, revision: RevisionId, claimant: Claimant, *, limit: int, now: datetime, mode: Mode | None = None
    ) -> list[Claim]:
        """Claim up to ``limit`` waiting predictions of a revision that are due, in order."""
        parameters = {
            "revision": revision,
            "mode": mode.value if mode else None,
            "limit": limit,
            "now": to_microseconds(now),
            "runner": claimant.runner,
            "lease_until": to_microseconds(claimant.lease_until),
        }

        def claim(connection: sqlite3.Connection) -> list[Row]:
            connection.execute(self._sql["let_go"], parameters)
            rows = []
            for number in self._first_of(connection, parameters, limit):
                connection.execute(self._sql["claim"], {**parameters, "number": number})
                rows += _all(connection.execute(self._sql["get_by_number"], (number,)))
            return rows

        rows = await self._database.write(claim)
        return [Claim(token=_token(row["number"], row["claims"]), record=to_record(row)) for row in rows]

    def _first_of(self, connection: sqlite3.Connection, parameters: Row, limit: int) -> list[int]:
        """The numbers of those that are next. Each lane is read no further than ``limit``, however much waits in it."""
        first: list[tuple[int, int]] = []
        for priority, lane in connection.execute(self._sql["lanes"], parameters).fetchall():
            rows = connection.execute(self._sql["first_of_lane"], {"lane": lane, "limit": limit}).fetchall()
            first += [(-priority, number) for (number,) in rows]
        return [number for _, number in sorted(first)[:limit]]

    async def extend(self, tokens: Sequence[ClaimToken], lease_until: datetime) -> set[ClaimToken]:
        """Extend leases; returns the tokens that no longer hold."""
        pairs = [pair for token in tokens if (pair := _read_token(token)) is not None]
        parameters = {"tokens": json.dumps(pairs), "lease_until": to_microseconds(lease_until)}
        extended = await self._database.write(lambda connection: connection.execute(self._sql["extend"], parameters).fetchall())
        return set(tokens) - {_token(*pair) for pair in extended}

    async def complete(self, token: ClaimToken, outcome: Outcome) -> bool:
        """Give a claimed prediction its end, and queue its last webhook delivery.

        Returns:
            ``False``, and nothing was done, if the token no longer holds.
        """
        if (pair := _read_token(token)) is None:
            return False
        number, claims = pair
        events = pack_events(outcome.events)
        parameters = {
            "number": number,
            "claims": claims,
            "status": outcome.status.value,
            "started_at": optional_microseconds(outcome.started_at),
            "completed_at": to_microseconds(outcome.completed_at),
        }

        def complete(connection: sqlite3.Connection) -> bool:
            if not connection.execute(self._sql["complete"], parameters).rowcount:
                return False
            self._keep_end(connection, number, events, outcome.completed_at)
            return True

        return await self._database.write(complete)

    async def release(self, token: ClaimToken, *, not_before: datetime, note: str | None) -> Record | None:
        """Give a claim back, to be claimed again.

        Args:
            not_before: When at the earliest.
            note: Why, as a sentence for ``history``; ``None`` where the runner never took it, and the attempt does not count.

        Returns:
            The record as it is then (canceled, if cancelation was requested meanwhile); ``None`` if the token no longer holds.
        """
        if (pair := _read_token(token)) is None:
            return None
        parameters = {"number": pair[0], "claims": pair[1]}

        def release(connection: sqlite3.Connection) -> Row | None:
            row = _one(connection.execute(self._sql["get_claimed"], parameters))
            if row is None:
                return None
            if row["cancel_requested_at"] is not None:
                return self._end(connection, row, canceled(to_moment(row["cancel_requested_at"])), note)
            return self._wait_again(connection, row, note, attempts=row["attempts"] - (note is None), not_before=not_before)

        row = await self._database.write(release)
        return None if row is None else to_record(row)

    # Ending and taking back

    async def cancel(self, prediction_id: PredictionId, *, now: datetime) -> CancelResult:
        """End a waiting prediction, or note the wish for one that is claimed."""

        def cancel(connection: sqlite3.Connection) -> CancelResult:
            row = _one(connection.execute(self._sql["get"], (prediction_id,)))
            if row is None:
                return CancelResult.UNKNOWN
            match Status(row["status"]):
                case Status.STARTING:
                    self._end(connection, row, canceled(now), None)
                    return CancelResult.CANCELED
                case Status.PROCESSING:
                    connection.execute(self._sql["request_cancel"], {"number": row["number"], "now": to_microseconds(now)})
                    return CancelResult.REQUESTED
                case _:
                    return CancelResult.ENDED

        return await self._database.write(cancel)

    async def expire(self, *, now: datetime) -> list[PredictionId]:
        """End (as canceled) waiting predictions whose ``start_by`` has passed; at most 1,000 at once."""

        def expire(connection: sqlite3.Connection) -> list[PredictionId]:
            rows = _all(connection.execute(self._sql["overdue"], {"now": to_microseconds(now)}))
            return [self._end(connection, row, canceled(now), NOT_STARTED_IN_TIME)["id"] for row in rows]

        return await self._database.write(expire)

    async def reap(
        self, *, now: datetime, max_attempts: Mapping[AppName, int], default_max_attempts: int, lapsed_only: bool = True
    ) -> list[Record]:
        """Take back claims whose lease has run out, or all of them (``lapsed_only=False``: at start, when no runner is left).

        They wait again, except those that were to be canceled, which are, and those that have used up their attempts, which fail.

        Returns:
            The records of all that were taken back, as they are then.
        """

        def take_back(connection: sqlite3.Connection, row: Row) -> Row:
            if row["cancel_requested_at"] is not None:
                return self._end(connection, row, canceled(now), None)
            note = taken_back(row["attempts"], row["runner"], has_lapsed=lapsed_only)
            if row["attempts"] >= max_attempts.get(AppName(row["owner"], row["name"]), default_max_attempts):
                return self._end(connection, row, given_up(now, row["attempts"], note), note)
            return self._wait_again(connection, row, note, attempts=row["attempts"], not_before=None)

        def reap(connection: sqlite3.Connection) -> list[Row]:
            rows = _all(connection.execute(self._sql["lapsed" if lapsed_only else "claimed"], {"now": to_microseconds(now)}))
            return [take_back(connection, row) for row in rows]

        return [to_record(row) for row in await self._database.write(reap)]

    def _end(self, connection: sqlite3.Connection, row: Row, end: Completed, note: str | None) -> Row:
        """End a prediction by the store's own decision; the row as it is then."""
        events: Sequence[Event] = (end,)
        parameters = {
            "number": row["number"],
            "status": end.status.value,
            "completed_at": to_microseconds(end.at),
            "history": pack_history(row, note),
        }
        connection.execute(self._sql["end"], parameters)
        packed = pack_events(events)
        self._keep_end(connection, row["number"], packed, end.at)
        return {**row, **parameters, "not_before": None, "events": packed}

    def _keep_end(self, connection: sqlite3.Connection, number: int, events: bytes, at: datetime) -> None:
        connection.execute(self._sql["add_outcome"], (number, events))
        for prediction_id, rest in connection.execute(self._sql["end_to_tell"], (number,)).fetchall():
            add_delivery(connection, delivery_of_end(prediction_id, webhook_of(rest), at))

    def _wait_again(
        self, connection: sqlite3.Connection, row: Row, note: str | None, *, attempts: int, not_before: datetime | None
    ) -> Row:
        parameters = {
            "number": row["number"],
            "status": Status.STARTING.value,
            "held": int(not_before is not None),
            "not_before": optional_microseconds(not_before),
            "attempts": attempts,
            "history": pack_history(row, note),
        }
        connection.execute(self._sql["wait_again"], parameters)
        return {**row, **parameters}

    # Looking

    async def get(self, prediction_id: PredictionId) -> Record | None:
        """A prediction, with its events if it has ended."""
        rows = await self._database.read(lambda connection: _all(connection.execute(self._sql["get"], (prediction_id,))))
        return to_record(rows[0]) if rows else None

    async def find(self, query: PredictionQuery) -> list[Record]:
        """Predictions, newest first."""
        parameters = _query_parameters(query)
        is_newest_first = query.after is None
        statement = self._sql["listed_newest" if is_newest_first else "listed_oldest"]

        def read(connection: sqlite3.Connection) -> list[Row]:
            queues = connection.execute(self._sql["queues"], parameters).fetchall()
            lists = [connection.execute(statement, {**parameters, "queue": queue}) for (queue,) in queues]
            merged = heapq.merge(*lists, reverse=is_newest_first)
            listed = [number for _, _, number in itertools.islice(merged, query.limit)]
            rows = [row for number in listed for row in _all(connection.execute(self._sql["get_by_number"], (number,)))]
            if query.with_events:
                numbers = json.dumps([row["number"] for row in rows])
                events = dict(connection.execute(self._sql["events"], (numbers,)).fetchall())
                rows = [{**row, "events": events.get(row["number"])} for row in rows]
            return rows

        rows = await self._database.read(read)
        return [to_record(row) for row in (rows if is_newest_first else reversed(rows))]

    async def count(self, app: AppName) -> int:
        """How many predictions of an app are known, ended ones included."""
        rows = await self._database.fetch(self._sql["count"], {"owner": app.owner, "name": app.name})
        return int(rows[0][0])

    async def position(self, prediction_id: PredictionId) -> int | None:
        """How many of the same revision and mode stand before it; ``None`` if it does not wait. Counts no further than 10,000."""
        rows = await self._database.fetch(self._sql["position"], (prediction_id,))
        return min(rows[0][0], _FARTHEST) if rows else None

    async def load(self, *, now: datetime) -> dict[RevisionId, Load]:
        """Of every revision of which something waits or runs. Cheap: kept as counts, not counted."""

        def read(connection: sqlite3.Connection) -> list[tuple[RevisionId, int, int, int | None]]:
            counted = connection.execute(self._sql["load"]).fetchall()
            held = connection.execute(self._sql["load_held"], {"now": to_microseconds(now)}).fetchall()
            return [*counted, *((revision, waiting, 0, oldest) for revision, waiting, oldest in held)]

        loads: dict[RevisionId, Load] = {}
        for revision, waiting, running, oldest in await self._database.read(read):
            before = loads.get(revision, _NO_LOAD)
            moments = [moment for moment in (before.oldest_waiting_at, to_moment(oldest) if oldest is not None else None) if moment]
            loads[revision] = Load(
                waiting=before.waiting + waiting, running=before.running + running, oldest_waiting_at=min(moments, default=None)
            )
        return loads

    async def next_due(self, *, now: datetime) -> datetime | None:
        """When, after ``now``, the next prediction that waits out a ``not_before`` becomes due, or the next ``start_by`` passes."""

        def read(connection: sqlite3.Connection) -> list[tuple[int]]:
            return [
                row
                for name in ("next_held", "next_start_by")
                for row in connection.execute(self._sql[name], {"now": to_microseconds(now)})
            ]

        return min((to_moment(at) for (at,) in await self._database.read(read)), default=None)

    # Keeping no longer than wanted

    async def remove_data(self, *, completed_before: datetime, limit: int = 1000) -> int:
        """Drop input and events of predictions that ended earlier; how many."""
        parameters = {"completed_before": to_microseconds(completed_before), "limit": limit}

        def remove(connection: sqlite3.Connection) -> int:
            numbers = connection.execute(self._sql["with_data"], parameters).fetchall()
            for statement in ("mark_data_removed", "remove_input", "remove_outcome"):
                connection.executemany(self._sql[statement], numbers)
            return len(numbers)

        return await self._database.write(remove)

    async def forget(self, *, completed_before: datetime, limit: int = 1000) -> list[PredictionId]:
        """Forget predictions that ended earlier, and those of apps that were removed; their ids."""
        parameters = {"completed_before": to_microseconds(completed_before), "limit": limit}

        def forget(connection: sqlite3.Connection) -> list[PredictionId]:
            found = connection.execute(self._sql["of_removed_apps"], parameters).fetchall()
            found += connection.execute(self._sql["ended"], {**parameters, "limit": limit - len(found)}).fetchall()
            rows = dict(found)
            connection.executemany(self._sql["forget"], [(number,) for number in rows])
            connection.execute(self._sql["remove_empty_lanes"])
            connection.execute(self._sql["remove_empty_queues"])
            return list(rows.values())

        return await self._database.write(forget)


_NO_LOAD = Load(waiting=0, running=0, oldest_waiting_at=None)


def _token(number: int, claims: int) -> ClaimToken:
    return ClaimToken(f"{number}.{claims}")


def _read_token(token: ClaimToken) -> tuple[int, int] | None:
    match = _TOKEN.fullmatch(token)
    return (int(match[1]), int(match[2])) if match else None


def _claim_columns(claimant: Claimant | None) -> Row:
    if claimant is None:
        return {"status": Status.STARTING.value, "claims": 0, "runner": None, "lease_until": None}
    lease_until = to_microseconds(claimant.lease_until)
    return {"status": Status.PROCESSING.value, "claims": 1, "runner": claimant.runner, "lease_until": lease_until}


def _query_parameters(query: PredictionQuery) -> Row:
    before_at, before_id = query.before or (None, "")
    after_at, after_id = query.after or (None, "")
    return {
        "owner": query.owner,
        "app_owner": query.app.owner if query.app else None,
        "name": query.app.name if query.app else None,
        "revision": query.revision,
        "mode": query.mode.value if query.mode else None,
        "any_lane": query.revision is None and query.mode is None,
        "only_live": bool(query.statuses) and not query.statuses & TERMINAL,
        "statuses": json.dumps(sorted(status.value for status in query.statuses)) if query.statuses else None,
        "created_from": to_microseconds(query.created_after) if query.created_after else EARLIEST,
        "created_to": to_microseconds(query.created_before) - 1 if query.created_before else LATEST,
        "before_at": to_microseconds(before_at) if before_at else LATEST + 1,
        "before_id": before_id,
        "after_at": to_microseconds(after_at) if after_at else EARLIEST - 1,
        "after_id": after_id,
        "limit": query.limit,
    }


def _all(cursor: sqlite3.Cursor) -> list[Row]:
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]


def _one(cursor: sqlite3.Cursor) -> Row | None:
    rows = _all(cursor)
    return rows[0] if rows else None
