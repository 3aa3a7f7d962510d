"""Random operations on a store and on the simplest thing that keeps the same promises: both must always say the same."""

import asyncio
import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from drivetrain.model.prediction import Completed, Failure, Started, Status
from drivetrain.model.project import Mode
from drivetrain.platform.app import AppName
from drivetrain.platform.queue import (
    CancelResult,
    Claimant,
    KeyReused,
    Load,
    Outcome,
    PredictionQuery,
    Priority,
    QueueFull,
    Submission,
)

APPS = {"a" * 64: AppName("alice", "one"), "b" * 64: AppName("alice", "one"), "c" * 64: AppName("bob", "two")}
REVISIONS = st.sampled_from(sorted(APPS))
MODES = st.sampled_from(Mode)
SECONDS = st.integers(0, 20)
QUEUE_LIMIT = 12
MAX_ATTEMPTS = 3


@dataclass
class Expected:
    """A prediction as the model knows it."""

    number: int
    submission: Submission
    status: Status = Status.STARTING
    attempts: int = 0
    notes: int = 0
    not_before: datetime | None = None
    token: str | None = None
    lease_until: datetime | None = None
    cancel_requested: bool = False
    completed_at: datetime | None = None
    data_removed: bool = False
    tokens: list = field(default_factory=list)

    @property
    def order(self):
        return -self.submission.priority, self.number

    def waits(self, now):
        return self.status is Status.STARTING and (self.not_before is None or self.not_before <= now)

    def end(self, status, at):
        self.status, self.completed_at, self.token, self.not_before = status, at, None, None

    def wait_again(self, not_before=None):
        self.status, self.token, self.not_before = Status.STARTING, None, not_before

    def be_claimed(self, claim, lease_until):
        self.status, self.token, self.lease_until, self.not_before = Status.PROCESSING, claim.token, lease_until, None
        self.attempts += 1
        self.tokens.append(claim.token)


class StoreAndModel(RuleBasedStateMachine):
    """Does the same to both."""

    adapter = None

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = Path(tempfile.mkdtemp())
        self.now = datetime(2026, 1, 1, tzinfo=timezone.utc)
        self.predictions: list[Expected] = []
        self.all_tokens: list[str] = []
        self.open()

    def open(self):
        self.store = self.do(self.adapter.open(self.adapter.place(self.directory)))

    def teardown(self):
        self.do(self.store.close())
        self.loop.close()
        shutil.rmtree(self.directory)

    def do(self, operation):
        return self.loop.run_until_complete(operation)

    # Accepting

    @rule(
        revision=REVISIONS,
        mode=MODES,
        priority=st.sampled_from(Priority),
        key=st.sampled_from([None, None, "k", "l"]),
        fingerprint=st.sampled_from("fg"),
        start_by=st.none() | SECONDS,
        claims=st.booleans(),
    )
    def submit(self, revision, mode, priority, key, fingerprint, start_by, claims):
        submission = Submission(
            id=f"{len(self.all_tokens)}-{self.loop.time()}",
            app=APPS[revision],
            revision=revision,
            created_at=self.now,
            input={"n": len(self.predictions)},
            mode=mode,
            priority=priority,
            start_by=self.after(start_by) if start_by is not None else None,
            idempotency_key=key,
            fingerprint=fingerprint,
        )
        claimant = Claimant(runner="r", lease_until=self.after(10)) if claims else None
        accept = self.store.queue.submit(submission, queue_limit=QUEUE_LIMIT, claimant=claimant)
        of_app = [each for each in self.predictions if each.submission.app == submission.app]
        earlier = next((each for each in of_app if key and each.submission.idempotency_key == key), None)
        if earlier is not None and earlier.submission.fingerprint != fingerprint:
            with pytest.raises(KeyReused):
                self.do(accept)
        elif earlier is not None:
            submitted = self.do(accept)
            assert (submitted.is_new, submitted.claim) == (False, None)
            assert submitted.record.submission.id == earlier.submission.id
        elif sum(each.status is Status.STARTING for each in of_app) >= QUEUE_LIMIT:
            with pytest.raises(QueueFull):
                self.do(accept)
        else:
            self.note_accepted(self.do(accept), submission, claimant)

    def note_accepted(self, submitted, submission, claimant):
        new = Expected(number=len(self.all_tokens), submission=submission)
        self.all_tokens.append("")
        blocked = any(
            each.waits(self.now) and each.order < new.order and each.submission.mode is submission.mode
            for each in self.predictions
            if each.submission.revision == submission.revision
        )
        assert (submitted.claim is not None) == (claimant is not None and not blocked)
        if submitted.claim is not None:
            self.note_claim(new, submitted.claim, claimant)
        self.predictions.append(new)

    def note_claim(self, expected, claim, claimant):
        assert claim.token not in self.all_tokens
        self.all_tokens.append(claim.token)
        expected.be_claimed(claim, claimant.lease_until)

    # Running

    @rule(revision=REVISIONS, limit=st.integers(1, 4), mode=st.none() | MODES, lease=SECONDS)
    def claim(self, revision, limit, mode, lease):
        claimant = Claimant(runner="r", lease_until=self.after(lease))
        claims = self.do(self.store.queue.claim(revision, claimant, limit=limit, now=self.now, mode=mode))
        ready = [
            each
            for each in sorted(self.predictions, key=lambda each: each.order)
            if each.submission.revision == revision and each.waits(self.now) and mode in (None, each.submission.mode)
        ]
        assert [claim.record.submission for claim in claims] == [each.submission for each in ready[:limit]]
        for expected, claim in zip(ready, claims, strict=False):
            self.note_claim(expected, claim, claimant)

    def pick_token(self, data):
        tokens = [token for each in self.predictions for token in each.tokens[-2:]]
        token = data.draw(st.sampled_from(tokens))
        return token, next((each for each in self.predictions if each.token == token), None)

    @property
    def any_token(self):
        return any(each.tokens for each in self.predictions)

    @precondition(lambda self: self.any_token)
    @rule(data=st.data(), status=st.sampled_from([Status.SUCCEEDED, Status.FAILED, Status.CANCELED]))
    def complete(self, data, status):
        token, expected = self.pick_token(data)
        failure = Failure(message="m") if status is Status.FAILED else None
        events = (Started(at=self.now), Completed(status=status, at=self.now, failure=failure))
        outcome = Outcome(status=status, completed_at=self.now, started_at=self.now, events=events)
        assert self.do(self.store.queue.complete(token, outcome)) == (expected is not None)
        if expected:
            expected.end(status, self.now)

    @precondition(lambda self: self.any_token)
    @rule(data=st.data(), after=SECONDS, note=st.none() | st.just("Note."))
    def release(self, data, after, note):
        token, expected = self.pick_token(data)
        record = self.do(self.store.queue.release(token, not_before=self.after(after), note=note))
        assert (record is None) == (expected is None)
        if expected is None:
            return
        expected.notes += note is not None
        if expected.cancel_requested:
            expected.end(Status.CANCELED, record.completed_at)
        else:
            expected.attempts -= note is None
            expected.wait_again(self.after(after))
        self.check_record(record, expected)

    @precondition(lambda self: self.any_token)
    @rule(data=st.data(), lease=SECONDS)
    def extend(self, data, lease):
        picked = [self.pick_token(data) for _ in range(3)]
        lost = self.do(self.store.queue.extend([token for token, _ in picked], self.after(lease)))
        assert lost == {token for token, expected in picked if expected is None}
        for _, expected in picked:
            if expected:
                expected.lease_until = self.after(lease)

    # Ending

    @precondition(lambda self: self.predictions)
    @rule(data=st.data())
    def cancel(self, data):
        expected = data.draw(st.sampled_from(self.predictions))
        result = self.do(self.store.queue.cancel(expected.submission.id, now=self.now))
        if expected.status is Status.STARTING:
            assert result is CancelResult.CANCELED
            expected.end(Status.CANCELED, self.now)
        elif expected.status is Status.PROCESSING:
            assert result is CancelResult.REQUESTED
            expected.cancel_requested = True
        else:
            assert result is CancelResult.ENDED

    @rule()
    def expire(self):
        late = [
            each
            for each in self.predictions
            if each.status is Status.STARTING and (each.submission.start_by or self.after(1)) <= self.now
        ]
        expired = self.do(self.store.queue.expire(now=self.now))
        assert sorted(expired) == sorted(each.submission.id for each in late)
        for expected in late:
            expected.notes += 1
            expected.end(Status.CANCELED, self.now)

    @rule(lapsed_only=st.booleans())
    def reap(self, lapsed_only):
        records = self.do(
            self.store.queue.reap(now=self.now, max_attempts={}, default_max_attempts=MAX_ATTEMPTS, lapsed_only=lapsed_only)
        )
        taken = [
            each
            for each in self.predictions
            if each.status is Status.PROCESSING and (not lapsed_only or each.lease_until <= self.now)
        ]
        assert [record.submission for record in records] == [each.submission for each in taken]
        for record, expected in zip(records, taken, strict=True):
            if expected.cancel_requested:
                expected.end(Status.CANCELED, self.now)
            else:
                expected.notes += 1
                if expected.attempts >= MAX_ATTEMPTS:
                    expected.end(Status.FAILED, self.now)
                else:
                    expected.wait_again()
            self.check_record(record, expected)

    # Keeping no longer than wanted

    @rule(seconds=SECONDS)
    def remove_data(self, seconds):
        old = [each for each in self.ended_before(seconds) if not each.data_removed]
        assert self.do(self.store.queue.remove_data(completed_before=self.after(-seconds))) == len(old)
        for expected in old:
            expected.data_removed = True

    @rule(seconds=SECONDS)
    def forget(self, seconds):
        old = self.ended_before(seconds)
        forgotten = self.do(self.store.queue.forget(completed_before=self.after(-seconds)))
        assert sorted(forgotten) == sorted(each.submission.id for each in old)
        self.predictions = [each for each in self.predictions if each not in old]

    def ended_before(self, seconds):
        return [each for each in self.predictions if each.completed_at is not None and each.completed_at < self.after(-seconds)]

    # The world

    @rule(seconds=SECONDS)
    def wait(self, seconds):
        self.now = self.after(seconds)

    @rule()
    def open_again(self):
        self.do(self.store.close())
        self.open()

    def after(self, seconds):
        return self.now + timedelta(seconds=seconds)

    @invariant()
    def both_say_the_same(self):
        for expected in self.predictions:
            self.check_record(self.do(self.store.queue.get(expected.submission.id)), expected)
            assert self.do(self.store.queue.position(expected.submission.id)) == self.position(expected)
        assert self.do(self.store.queue.load(now=self.now)) == self.load()
        assert self.do(self.store.queue.next_due(now=self.now)) == self.next_due()
        listed = [record.submission.id for record in self.do(self.store.queue.find(PredictionQuery()))]
        newest = sorted(((each.submission.created_at, each.submission.id) for each in self.predictions), reverse=True)
        assert listed == [prediction_id for _, prediction_id in newest]

    def check_record(self, record, expected):
        wanted = expected.submission
        assert record.submission.id == wanted.id
        assert record.submission.input == ({} if expected.data_removed else wanted.input)
        assert (record.status, record.attempts, len(record.history)) == (expected.status, expected.attempts, expected.notes)
        assert (record.not_before, record.completed_at) == (expected.not_before, expected.completed_at)
        assert (record.cancel_requested, record.data_removed) == (expected.cancel_requested, expected.data_removed)
        assert bool(record.events) == (expected.status.is_terminal and not expected.data_removed)

    def position(self, expected):
        if expected.status is not Status.STARTING:
            return None
        return sum(
            each.status is Status.STARTING and each.order < expected.order
            for each in self.predictions
            if (each.submission.revision, each.submission.mode) == (expected.submission.revision, expected.submission.mode)
        )

    def load(self):
        loads = {}
        for revision in APPS:
            mine = [each for each in self.predictions if each.submission.revision == revision]
            waiting = [each for each in mine if each.waits(self.now)]
            running = sum(each.status is Status.PROCESSING for each in mine)
            if waiting or running:
                oldest = min((each.submission.created_at for each in waiting), default=None)
                loads[revision] = Load(waiting=len(waiting), running=running, oldest_waiting_at=oldest)
        return loads

    def next_due(self):
        waiting = [each for each in self.predictions if each.status is Status.STARTING]
        moments = [each.not_before for each in waiting] + [each.submission.start_by for each in waiting]
        return min((moment for moment in moments if moment is not None and moment > self.now), default=None)


def test_random_operations(adapter):
    machine = type("StoreAndModelOfAdapter", (StoreAndModel,), {"adapter": adapter})
    case = machine.TestCase
    case.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
    case().runTest()
