"""Between a prediction's record and its row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeAlias

from drivetrain.model.prediction import PredictionId, Status
from drivetrain.model.project import Mode
from drivetrain.platform.app import AppName, RevisionId
from drivetrain.platform.queue import Priority, Record, Submission, WebhookOrder
from drivetrain.stores.codec import (
    optional_microseconds,
    optional_moment,
    pack,
    to_microseconds,
    to_moment,
    unpack,
    unpack_events,
)
from drivetrain.stores.ending import wants_end

#: A row by the names of its columns.
Row: TypeAlias = dict[str, Any]


def to_row(submission: Submission) -> Row:
    """The columns that say what was asked for."""
    return {
        "id": submission.id,
        "owner": submission.app.owner,
        "name": submission.app.name,
        "revision": submission.revision,
        "mode": submission.mode.value,
        "priority": submission.priority.value,
        "created_at": to_microseconds(submission.created_at),
        "start_by": optional_microseconds(submission.start_by),
        "tells_end": wants_end(submission.webhook),
        "caller": submission.caller,
        "idempotency_key": submission.idempotency_key,
    }


def pack_request(submission: Submission) -> tuple[bytes, bytes | None, bytes]:
    """The input, the sealed input and the rest of what was asked for: what no statement looks into."""
    rest = {name: to_plain(value) for name, (to_plain, _) in _REST.items() if (value := getattr(submission, name))}
    return pack(submission.input), submission.sealed, pack(rest)


def webhook_of(rest: bytes) -> WebhookOrder:
    """The webhook in what ``pack_request`` gave last; there must be one."""
    return _to_webhook(unpack(rest)["webhook"])


def history_of(row: Row) -> tuple[str, ...]:
    """The sentences on earlier attempts."""
    return tuple(unpack(row["history"])) if row["history"] else ()


def pack_history(row: Row, note: str | None) -> bytes | None:
    """The history with one more sentence, if there is one."""
    return pack([*history_of(row), note]) if note is not None else row["history"]


def to_record(row: Row) -> Record:
    """The record of a row of the view of that name, with events if they were read too."""
    rest = {name: _REST[name][1](value) for name, value in unpack(row["rest"]).items()}
    submission = Submission(
        id=PredictionId(row["id"]),
        app=AppName(row["owner"], row["name"]),
        revision=RevisionId(row["revision"]),
        created_at=to_moment(row["created_at"]),
        input=unpack(row["input"]) if row["input"] is not None else {},
        sealed=row["sealed"],
        mode=Mode(row["mode"]),
        priority=Priority(row["priority"]),
        start_by=optional_moment(row["start_by"]),
        caller=row["caller"],
        idempotency_key=row["idempotency_key"],
        **rest,
    )
    events = row.get("events")
    return Record(
        submission=submission,
        status=Status(row["status"]),
        attempts=row["attempts"],
        not_before=optional_moment(row["not_before"]),
        started_at=optional_moment(row["started_at"]),
        completed_at=optional_moment(row["completed_at"]),
        cancel_requested=row["cancel_requested_at"] is not None,
        runner=row["runner"],
        events=unpack_events(events) if events is not None else (),
        history=history_of(row),
        data_removed=bool(row["data_removed"]),
    )


def _from_webhook(webhook: WebhookOrder) -> list[Any]:
    return [webhook.url, sorted(webhook.events), webhook.gateway, webhook.owner]


def _to_webhook(plain: list[Any]) -> WebhookOrder:
    url, events, gateway, owner = plain
    return WebhookOrder(url=url, events=frozenset(events), gateway=gateway, owner=owner)


def _as_it_is(value: Any) -> Any:
    return value


def _from_timedelta(value: timedelta) -> int:
    return value // timedelta(microseconds=1)


def _to_timedelta(plain: int) -> timedelta:
    return timedelta(microseconds=plain)


#: Fields of a submission that are kept only where they say something: how they are made plain, and how they are read again.
_REST: Mapping[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "context": (dict, _as_it_is),
    "run_limit": (_from_timedelta, _to_timedelta),
    "deadline": (to_microseconds, to_moment),
    "webhook": (_from_webhook, _to_webhook),
    "fingerprint": (_as_it_is, _as_it_is),
    "labels": (dict, _as_it_is),
    "streams": (_as_it_is, _as_it_is),
    "destination": (str, AppName.parse),
    "trace": (_as_it_is, _as_it_is),
}
