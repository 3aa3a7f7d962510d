"""The durable queue: predictions from the moment they are accepted to their one end, and the port that keeps them.

A prediction is *queued*, then *claimed* by a runner for a limited time (a lease, extended while it runs), then it has ended. A
claim carries an owner, a token and an expiry; whatever is done to a claimed prediction is done by its token and has no effect once
the token is no longer the newest: so a runner that was given up and answers late cannot give a prediction a second end.

What happened while a prediction ran is its list of events (``drivetrain.model.prediction``). They are live in the ``Hub`` while it
runs and stored whole at its end; output, logs, metrics and error are folds over them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, NewType, Protocol

from drivetrain.model.errors import BadRequest, OutsideFailed
from drivetrain.model.prediction import Event, PredictionId, Status
from drivetrain.model.project import Mode
from drivetrain.platform.app import AppName, RevisionId

ClaimToken = NewType("ClaimToken", str)


class QueueFull(OutsideFailed):
    """As many predictions of an app wait as may."""

    code = "queue_full"

    def __init__(self, app: AppName, limit: int) -> None:
        super().__init__(
            f"{limit} predictions of '{app}' are waiting already", hint="try again later, or raise the app's queue limit"
        )
        self.app = app
        self.limit = limit


class KeyReused(BadRequest):
    """An idempotency key came a second time with something else."""

    code = "idempotency_key_reused"

    def __init__(self, key: str) -> None:
        super().__init__(f"the Idempotency-Key '{key}' was used for a different request", hint="use a new key for a new request")


class Priority(int, Enum):
    """Within an app, all that waits of a higher priority is claimed before any of a lower one."""

    LOW = 0
    NORMAL = 1


@dataclass(frozen=True, kw_only=True)
class WebhookOrder:
    """Whom to notify of a prediction.

    Attributes:
        url: Where to POST.
        events: ``start``, ``output``, ``logs``, ``completed``: of what.
        gateway: Which protocol renders the body.
        owner: Whose secret signs it: that of whoever asked, who alone can be sure then where it comes from.
    """

    url: str
    events: frozenset[str]
    gateway: str
    owner: str = ""


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What was asked for; never changes.

    Attributes:
        input: Checked inputs; files of ours are references (see ``files``), and secrets are masked.
        sealed: The inputs that are secrets, sealed; ``None`` if there are none.
        context: Passed to the model's ``current_scope().context``.
        start_by: When it ends as canceled if it has not started; over all attempts.
        run_limit: How long one attempt may run before it fails.
        deadline: When it is canceled wherever it is.
        caller: Id of the API key that asked.
        idempotency_key: Unique for the caller and app; the same key with the same ``fingerprint`` gives the same prediction.
        fingerprint: Digest of the request as it came.
        labels: What the gateway wants back when it renders, such as the deployment that was called.
        streams: Whether the output comes in items. ``False`` also in what was accepted before this was kept: its revision knows.
        destination: The app that what a training gives becomes a revision of, before it is said to have succeeded.
        trace: The caller's ``traceparent``.
    """

    id: PredictionId
    app: AppName
    revision: RevisionId
    created_at: datetime
    input: Mapping[str, Any]
    sealed: bytes | None = None
    mode: Mode = Mode.PREDICT
    context: Mapping[str, str] = field(default_factory=dict)
    priority: Priority = Priority.NORMAL
    start_by: datetime | None = None
    run_limit: timedelta | None = None
    deadline: datetime | None = None
    webhook: WebhookOrder | None = None
    caller: str = ""
    idempotency_key: str | None = None
    fingerprint: str = ""
    labels: Mapping[str, Any] = field(default_factory=dict)
    streams: bool = False
    destination: AppName | None = None
    trace: str | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """A prediction as the store knows it.

    Attributes:
        status: ``starting`` while it waits, ``processing`` while claimed, else how it ended.
        attempts: How often it has been claimed.
        not_before: It waits at least until then, after an attempt that is to be repeated.
        cancel_requested: Somebody asked to cancel it while it was claimed.
        runner: Who claimed it last.
        events: Of the last attempt, once it has ended, in order; empty before, and after ``data_removed``.
        history: A sentence on each earlier attempt: why it was given up.
        data_removed: Its input and events have been dropped by retention.
    """

    submission: Submission
    status: Status
    attempts: int = 0
    not_before: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    cancel_requested: bool = False
    runner: str | None = None
    events: tuple[Event, ...] = ()
    history: tuple[str, ...] = ()
    data_removed: bool = False


@dataclass(frozen=True, kw_only=True)
class Claimant:
    """Who claims.

    Attributes:
        runner: Its id.
        lease_until: When the claim lapses unless it is extended.
    """

    runner: str
    lease_until: datetime


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to run one prediction now."""

    token: ClaimToken
    record: Record


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """What became of a submission.

    Attributes:
        record: The prediction: the new one, or the one accepted earlier under the same idempotency key.
        is_new: Whether this call made it.
        claim: Set where a claimant was given, the prediction is new and nothing of its revision and mode waits before it.
    """

    record: Record
    is_new: bool
    claim: Claim | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an attempt ended for good.

    Attributes:
        events: All events of the attempt, the last one ``Completed``.
    """

    status: Status
    completed_at: datetime
    started_at: datetime | None
    events: Sequence[Event]


class CancelResult(str, Enum):
    """What a request to cancel came to."""

    CANCELED = "canceled"  #: it was waiting and has ended now
    REQUESTED = "requested"  #: it is claimed; whoever runs it must be told
    ENDED = "ended"  #: it had ended before
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Load:
    """How much of one revision waits and runs.

    Attributes:
        waiting: Queued and due, oldest first counted.
        running: Claimed.
        oldest_waiting_at: Since when the oldest waits.
    """

    waiting: int
    running: int
    oldest_waiting_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class PredictionQuery:
    """Which predictions to list, newest first.

    Attributes:
        app: Of this app only.
        owner: Of apps of this owner only.
        statuses: In one of these only; empty is any.
        before: Continue after this one (created_at, id), exclusive.
        after: The other way: those newer than this one, the nearest first in time but returned newest first.
        created_after: Created at or after.
        created_before: Created before.
        with_events: Read the events of ended ones too; else they have none.
    """

    app: AppName | None = None
    owner: str | None = None
    revision: RevisionId | None = None
    mode: Mode | None = None
    statuses: frozenset[Status] = frozenset()
    before: tuple[datetime, str] | None = None
    after: tuple[datetime, str] | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    with_events: bool = False
    limit: int = 100


class QueueStore(Protocol):
    """Keeps predictions. Every method is one transaction: when it returns, what it did is on disk.

    Order: within a revision, higher priority first, then by acceptance; where predictions and trainings are claimed apart, within
    each of the two. A prediction that is released goes to the head of its priority, where it was, once ``not_before`` has passed.

    A call that is canceled may have had its effect or may still have it.
    """

    async def submit(self, submission: Submission, *, queue_limit: int, claimant: Claimant | None = None) -> Submitted:
        """Accept a prediction.

        Raises:
            QueueFull: ``queue_limit`` predictions of the app wait. (One accepted earlier under the same key is returned even then.)
            KeyReused: Its idempotency key was used with another fingerprint.
        """

    async def accepted_earlier(self, app: AppName, *, caller: str, idempotency_key: str, fingerprint: str) -> Record | None:
        """The prediction that ``submit`` would return for this key; ``None`` if it would accept a new one.

        Raises:
            KeyReused: The key was used with another fingerprint.
        """

    async def claim(
        self, revision: RevisionId, claimant: Claimant, *, limit: int, now: datetime, mode: Mode | None = None
    ) -> list[Claim]:
        """Claim up to ``limit`` waiting predictions of a revision that are due, in order."""

    async def extend(self, tokens: Sequence[ClaimToken], lease_until: datetime) -> set[ClaimToken]:
        """Extend leases; returns the tokens that no longer hold."""

    async def complete(self, token: ClaimToken, outcome: Outcome) -> bool:
        """Give a claimed prediction its end, and queue its last webhook delivery.

        Returns:
            ``False``, and nothing was done, if the token no longer holds.
        """

    async def release(self, token: ClaimToken, *, not_before: datetime, note: str | None) -> Record | None:
        """Give a claim back, to be claimed again.

        Args:
            not_before: When at the earliest.
            note: Why, as a sentence for ``history``; ``None`` where the runner never took it, and the attempt does not count.

        Returns:
            The record as it is then (canceled, if cancelation was requested meanwhile); ``None`` if the token no longer holds.
        """

    async def cancel(self, prediction_id: PredictionId, *, now: datetime) -> CancelResult:
        """End a waiting prediction, or note the wish for one that is claimed."""

    async def expire(self, *, now: datetime) -> list[PredictionId]:
        """End (as canceled) waiting predictions whose ``start_by`` has passed; at most 1,000 at once."""

    async def reap(
        self, *, now: datetime, max_attempts: Mapping[AppName, int], default_max_attempts: int, lapsed_only: bool = True
    ) -> list[Record]:
        """Take back claims whose lease has run out, or all of them (``lapsed_only=False``: at start, when no runner is left).

        They wait again, except those that were to be canceled, which are, and those that have used up their attempts, which fail.

        Returns:
            The records of all that were taken back, as they are then.
        """

    async def get(self, prediction_id: PredictionId) -> Record | None:
        """A prediction, with its events if it has ended."""

    async def find(self, query: PredictionQuery) -> list[Record]:
        """Predictions, newest first."""

    async def count(self, app: AppName) -> int:
        """How many predictions of an app are known, ended ones included."""

    async def position(self, prediction_id: PredictionId) -> int | None:
        """How many of the same revision and mode stand before it; ``None`` if it does not wait. Counts no further than 10,000."""

    async def load(self, *, now: datetime) -> dict[RevisionId, Load]:
        """Of every revision of which something waits or runs. Cheap: kept as counts, not counted."""

    async def next_due(self, *, now: datetime) -> datetime | None:
        """When, after ``now``, the next prediction that waits out a ``not_before`` becomes due, or the next ``start_by`` passes."""

    async def remove_data(self, *, completed_before: datetime, limit: int = 1000) -> int:
        """Drop input and events of predictions that ended earlier; how many."""

    async def forget(self, *, completed_before: datetime, limit: int = 1000) -> list[PredictionId]:
        """Forget predictions that ended earlier, and those of apps that were removed; their ids."""
