"""Gives predictions to runners, and the queue what became of them.

Nothing waits here: a slot that is free is offered to the queue, a submission that finds a free slot is claimed in the transaction
that accepts it, and a prediction's end is told to nobody before it is on disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

import anyio

from drivetrain.model.errors import DrivetrainError, OutsideFailed
from drivetrain.model.json_value import weigh
from drivetrain.model.prediction import Completed, Event, Failure, Log, Output, OutputValue, PredictionId, Source, Status
from drivetrain.model.project import Mode
from drivetrain.platform.app import AppName, RevisionId
from drivetrain.platform.catalog import Catalog
from drivetrain.platform.clock import Clock
from drivetrain.platform.fleet import Answer, Job, RunnerLost, RunnerRefused
from drivetrain.platform.gate import RunnerGate
from drivetrain.platform.hub import Hub, Live
from drivetrain.platform.options import PlatformOptions
from drivetrain.platform.queue import (
    CancelResult,
    Claim,
    Claimant,
    Outcome,
    QueueStore,
    Submission,
    Submitted,
)
from drivetrain.platform.retry import Fail, Happening, RetryPolicy, decide
from drivetrain.platform.runners import LiveRunner, Runners, RunnerState
from drivetrain.platform.submission import Submissions
from drivetrain.platform.tasks import Signal, Tasks
from drivetrain.platform.tracing import AttemptTrace, Tracer

_T = TypeVar("_T")

_log = logging.getLogger(__name__)

#: How long what cannot be written (the disk is full) waits for the next try.
_WRITE_AGAIN_SECONDS = 1.0

#: What an event takes that carries little.
_SMALL_EVENT_BYTES = 100

#: How long the ends of predictions may take to be written when the platform is stopped.
_LAST_WRITES_SECONDS = 5.0


@dataclass(kw_only=True, eq=False)
class _Attempt:
    """A prediction in a runner."""

    claim: Claim
    runner: LiveRunner
    trace: AttemptTrace | None = None
    is_lost: bool = False  #: the claim is no longer ours, so its result is nobody's


class _TookTooLong(Exception):  # noqa: N818 (never leaves this module)
    """An attempt has run longer than it may."""


@dataclass(frozen=True, kw_only=True)
class DispatchHooks:
    """Whom a dispatcher tells. Called in the event loop; none of them may raise.

    Attributes:
        demand: A prediction waits.
        changed: A runner has taken or ended a prediction.
        unwell: A runner is no good any more and must be ended now, and why.
        trained: Makes a training's output a revision of its destination. The one that is awaited, and may raise.
        began: An attempt has begun, of which no event has come yet.
        ended: A prediction has ended; and what happened to it, where that is at hand.
    """

    demand: Callable[[], None]
    changed: Callable[[], None]
    unwell: Callable[[LiveRunner, str], None]
    trained: Callable[[Submission, Any], Awaitable[object]]
    began: Callable[[Live], None]
    ended: Callable[[PredictionId, Live | None], None]


class Dispatcher:
    """Owns what is between the queue and the runners' slots."""

    def __init__(
        self,
        *,
        queue: QueueStore,
        hub: Hub,
        runners: Runners,
        catalog: Catalog,
        submissions: Submissions,
        gate: RunnerGate,
        clock: Clock,
        options: PlatformOptions,
        hooks: DispatchHooks,
        tracer: Tracer | None = None,
    ) -> None:
        self._queue = queue
        self._hub = hub
        self._runners = runners
        self._catalog = catalog
        self._submissions = submissions
        self._gate = gate
        self._clock = clock
        self._options = options
        self._hooks = hooks
        self._tracer = tracer
        self._tasks = Tasks()
        self._attempts: dict[PredictionId, _Attempt] = {}
        self._to_cancel: set[PredictionId] = set()
        self._filling: set[RevisionId] = set()
        #: Revisions of which something may wait: what is not named here need not be asked for after every prediction.
        self._may_wait: set[RevisionId] = set()
        self._is_stopping = False
        self._due = Signal()
        #: Attempts whose end has not been written down; one that is not in ``_attempts`` has left its runner.
        self._unfinished: set[asyncio.Task[Any]] = set()
        self._attempt_ended = Signal()
        #: Up to when what fell due has been looked after.
        self._looked_at = datetime.min.replace(tzinfo=timezone.utc)

    @property
    def under_way(self) -> int:
        """How many predictions are in runners."""
        return len(self._attempts)

    def start(self) -> None:
        """Begin to extend leases and to look after what falls due."""
        self._tasks.spawn_loop(self._extend_leases, "extending leases")
        self._tasks.spawn_loop(self._look_after_due, "looking after what falls due")

    async def stop(self, grace: timedelta) -> None:
        """Take nothing more; let what is in runners end within the grace. May be called twice."""
        self._is_stopping = True
        deadline = self._clock.monotonic() + grace.total_seconds()
        while self._unfinished and (left := deadline - self._clock.monotonic()) > 0:
            await self._attempt_ended.wait(left)
        # What has ended in its runner only needs to be written down: it must not be run again for want of a moment.
        deadline = self._clock.monotonic() + _LAST_WRITES_SECONDS
        while len(self._unfinished) > len(self._attempts) and (left := deadline - self._clock.monotonic()) > 0:
            await self._attempt_ended.wait(left)
        await self._tasks.aclose()

    def streams(self, submission: Submission) -> bool:
        """Whether a prediction's output comes in items."""
        if submission.streams:
            return True
        revision = self._catalog.find_revision(submission.revision)
        if revision is None:
            return False
        signature = revision.signature if submission.mode is Mode.PREDICT else revision.train_signature
        return signature is not None and signature.streams

    async def submit(self, submission: Submission, *, queue_limit: int) -> Submitted:
        """Accept a prediction, and set it going if a slot is free and nothing waits before it."""
        runner = None
        if not self._is_stopping and submission.revision not in self._may_wait:
            runner = self._runners.with_free_slot(submission.revision)
        if runner is None:
            submitted = await self._queue.submit(submission, queue_limit=queue_limit)
        else:
            runner.reserved += 1
            try:
                claimant = Claimant(runner=runner.id, lease_until=self._clock.now() + self._options.lease)
                submitted = await self._queue.submit(submission, queue_limit=queue_limit, claimant=claimant)
            finally:
                runner.reserved -= 1
        if submitted.claim is not None and runner is not None:
            self._begin(runner, submitted.claim)
        elif submitted.is_new:
            self._wait_for_slot(submission)
        return submitted

    def fill(self, revision: RevisionId) -> None:
        """Offer a revision's free slots to what waits. Cheap where nothing does."""
        if self._is_stopping or revision in self._filling or revision not in self._may_wait:
            return
        self._filling.add(revision)
        self._tasks.spawn(self._fill(revision), "giving out predictions")

    def demand(self, revision: RevisionId) -> None:
        """Something of a revision may wait that was not submitted here."""
        self._may_wait.add(revision)
        self.fill(revision)

    async def cancel(self, prediction_id: PredictionId) -> None:
        """Cancel a prediction wherever it is; one that has ended stays as it is."""
        result = await self._queue.cancel(prediction_id, now=self._clock.now())
        if result is CancelResult.CANCELED:
            self._ended_in_queue(prediction_id)
        if result is not CancelResult.REQUESTED:
            return
        self._to_cancel.add(prediction_id)  # its claim may have been written and not yet reached us
        attempt = self._attempts.get(prediction_id)
        if attempt is not None and attempt.runner.runner is not None:
            await attempt.runner.runner.cancel(prediction_id)

    def forget(self, app: AppName) -> None:
        """Tell those who wait for predictions of an app that was removed, which are gone with it."""
        for live in self._hub.of(app):
            self._ended_in_queue(live.submission.id)

    def _ended_in_queue(self, prediction_id: PredictionId) -> None:
        """Tell those who wait for a prediction that the store has ended it before it ran."""
        live = self._hub.find(prediction_id)
        if live is not None and not live.is_ended:
            live.apply(Completed(status=Status.CANCELED, at=self._clock.now()))
            self._hooks.ended(prediction_id, live)
        else:
            self._hooks.ended(prediction_id, None)

    def _wait_for_slot(self, submission: Submission) -> None:
        self._may_wait.add(submission.revision)
        if submission.start_by is not None or submission.deadline is not None:
            self._due.wake()
        self.fill(submission.revision)
        self._hooks.demand()

    async def _fill(self, revision: RevisionId) -> None:
        try:
            while (runner := self._runners.with_free_slot(revision)) is not None and not self._is_stopping:
                wanted = runner.free_slots
                self._may_wait.discard(revision)  # what is submitted from here on sets it again
                try:
                    claims = await self._claim(runner, wanted)
                except OutsideFailed as error:
                    _log.error("what waits cannot be claimed now: %s", error.message)
                    self._may_wait.add(revision)
                    await asyncio.sleep(_WRITE_AGAIN_SECONDS)  # nobody else will ask again: those who wait submit nothing more
                    continue
                for claim in claims:
                    self._begin(runner, claim)
                if len(claims) == wanted:
                    self._may_wait.add(revision)
                elif revision not in self._may_wait:
                    return
        finally:
            self._filling.discard(revision)

    async def _claim(self, runner: LiveRunner, count: int) -> list[Claim]:
        runner.reserved += count
        try:
            now = self._clock.now()
            claimant = Claimant(runner=runner.id, lease_until=now + self._options.lease)
            return await self._queue.claim(runner.revision, claimant, limit=count, now=now)
        finally:
            runner.reserved -= count

    def _begin(self, runner: LiveRunner, claim: Claim) -> None:
        prediction_id = claim.record.submission.id
        attempt = self._attempts[prediction_id] = _Attempt(claim=claim, runner=runner)
        runner.busy.add(prediction_id)
        runner.idle_since = None
        task = self._tasks.spawn(self._attempt(attempt), f"prediction {prediction_id}")
        self._unfinished.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._unfinished.discard(task)
        self._attempt_ended.wake()

    async def _attempt(self, attempt: _Attempt) -> None:
        claim = attempt.claim
        submission = claim.record.submission
        with self._hub.using(submission, streams=self.streams(submission)) as live:
            live.begin(claim.record.attempts)
            self._hooks.began(live)
            for sentence in claim.record.history:
                live.apply(Log(source=Source.STDERR, data=f"{sentence}\n"))
            if self._tracer is not None:
                attempt.trace = AttemptTrace(self._tracer, claim.record, self._clock.now(), attempt.runner.id)
            problem: Exception | None = None
            completed: Completed | None = None
            try:
                completed = await self._run(live, attempt)
            except (RunnerRefused, RunnerLost, _TookTooLong) as error:
                problem = error
            except DrivetrainError as error:
                completed = self._failed(error.message)
            except Exception:  # noqa: BLE001 (our own bug must not leave a prediction without an end)
                _log.exception("prediction %s has met a fault of the platform", submission.id)
                completed = self._failed("The platform has a fault, and its log says more.")
            finally:
                self._release_slot(attempt)
            if attempt.is_lost:
                return
            if completed is None:
                assert problem is not None
                completed = await self._after(problem, live, attempt)
            if completed is not None:
                await self._conclude(live, attempt, await self._published(live, completed))
            if attempt.trace is not None:
                failure = completed.failure if completed is not None else None
                wrong = failure.message if failure is not None else None if problem is None else str(problem)
                attempt.trace.end(self._clock.now(), wrong)

    async def _run(self, live: Live, attempt: _Attempt) -> Completed:
        """Have a runner run it; how it ended."""
        submission = attempt.claim.record.submission
        runner = attempt.runner.runner
        assert runner is not None
        if submission.id in self._to_cancel or attempt.claim.record.cancel_requested:
            return Completed(status=Status.CANCELED, at=self._clock.now())
        if attempt.runner.state is RunnerState.ENDED:  # while its claim was being written
            raise RunnerRefused(Answer.BUSY, f"runner '{attempt.runner.id}' has ended")
        gate = self._gate.of(attempt.runner.id)
        limit = self._limit(submission)
        job = Job(
            id=submission.id,
            input=gate.outward(self._submissions.unsealed(submission)),  # type: ignore[arg-type] # a mapping stays one
            context=submission.context,
            mode=submission.mode,
            trace=attempt.trace.traceparent if attempt.trace is not None else submission.trace,
        )
        room = self._options.prediction_bytes
        with anyio.move_on_after(limit.total_seconds() if limit is not None else None) as scope:
            async for event in runner.run(job):
                if isinstance(event, Completed):
                    return event
                room -= _weight(event)
                if room < 0:
                    await runner.cancel(submission.id)
                    return self._failed(f"It put out more than {self._options.prediction_bytes} bytes of output and logs.")
                live.apply(Output(output=_inward(gate.inward, event)) if isinstance(event, Output) else event)
            raise RunnerLost("the runner broke off")
        assert scope.cancel_called
        raise _TookTooLong

    def _failed(self, message: str) -> Completed:
        return Completed(status=Status.FAILED, at=self._clock.now(), failure=Failure(message=message))

    def _limit(self, submission: Submission) -> timedelta | None:
        left = submission.deadline - self._clock.now() if submission.deadline is not None else None
        limits = [limit for limit in (submission.run_limit, left) if limit is not None]
        return max(min(limits), timedelta(0)) if limits else None

    def _release_slot(self, attempt: _Attempt) -> None:
        runner, prediction_id = attempt.runner, attempt.claim.record.submission.id
        runner.busy.discard(prediction_id)
        runner.served += 1
        if runner.is_idle:
            runner.idle_since = self._clock.steady()
        if self._attempts.get(prediction_id) is attempt:
            del self._attempts[prediction_id]
        self._attempt_ended.wake()
        self.fill(runner.revision)
        self._hooks.changed()

    async def _after(self, problem: Exception, live: Live, attempt: _Attempt) -> Completed | None:
        """What to do about an attempt that came to nothing: give the prediction back (``None``), or end it."""
        record = attempt.claim.record
        submission = record.submission
        now = self._clock.now()
        if submission.id in self._to_cancel:
            return Completed(status=Status.CANCELED, at=now)
        if isinstance(problem, _TookTooLong) and submission.deadline is not None and submission.deadline <= now:
            return Completed(status=Status.CANCELED, at=now)
        app = self._catalog.find_app(submission.app)
        policy = RetryPolicy(max_attempts=app.scaling.max_attempts if app is not None else 1)
        decision = decide(_happening(problem), attempts=record.attempts, policy=policy)
        sentence = self._describe(problem, submission)
        if decision.ends_runner:
            self._hooks.unwell(attempt.runner, sentence)
        if isinstance(decision, Fail):
            return Completed(status=Status.FAILED, at=now, failure=Failure(message=decision.message(sentence)))
        note = f"Attempt {record.attempts} was given up: {sentence}" if decision.counts else None
        released = await self._insist(lambda: self._queue.release(attempt.claim.token, not_before=now + decision.after, note=note))
        if released is None:
            return None
        if released.status.is_terminal:
            self._ended_in_queue(submission.id)
            return None
        live.wake()
        self._due.wake()
        self._wait_for_slot(submission)
        return None

    @staticmethod
    def _describe(problem: Exception, submission: Submission) -> str:
        if isinstance(problem, _TookTooLong):
            seconds = submission.run_limit.total_seconds() if submission.run_limit is not None else 0
            return f"it ran longer than {seconds:g} seconds, the app's request timeout"
        assert isinstance(problem, DrivetrainError)
        return problem.message

    async def _published(self, live: Live, completed: Completed) -> Completed:
        """The end of a training that has a destination, once there is a revision of it there."""
        destination = live.submission.destination
        if destination is None or completed.status is not Status.SUCCEEDED or not live.prediction.outputs:
            return completed
        try:
            await self._hooks.trained(live.submission, live.prediction.outputs[-1].value)
        except DrivetrainError as error:
            message = f"the training gave its result, which could not become a version of '{destination}': {error.message}"
            return Completed(status=Status.FAILED, at=self._clock.now(), failure=Failure(message=message))
        return completed

    async def _conclude(self, live: Live, attempt: _Attempt, completed: Completed) -> None:
        """Make a prediction's end durable, then tell it."""
        prediction_id = attempt.claim.record.submission.id
        outcome = Outcome(
            status=completed.status,
            completed_at=completed.at,
            started_at=live.prediction.started_at,
            events=(*live.events, completed),
        )
        held = await self._insist(lambda: self._queue.complete(attempt.claim.token, outcome))
        self._to_cancel.discard(prediction_id)
        if held:
            live.apply(completed)
            self._hooks.ended(prediction_id, live)
        else:
            _log.warning("prediction %s was given to somebody else, and this end of it is dropped", prediction_id)

    async def _insist(self, write: Callable[[], Awaitable[_T]]) -> _T:
        """Write until it is written: the disk may be full for a while, and the result must not be lost."""
        while True:
            try:
                return await write()
            except OutsideFailed as error:
                _log.error("a result cannot be written and is kept in memory: %s", error.message)
                await asyncio.sleep(_WRITE_AGAIN_SECONDS)

    async def _extend_leases(self) -> None:
        await asyncio.sleep(self._options.lease.total_seconds() / 3)
        tokens = {attempt.claim.token: attempt for attempt in self._attempts.values()}
        if not tokens:
            return
        lost = await self._queue.extend(list(tokens), self._clock.now() + self._options.lease)
        for token in lost:
            await self._lose(tokens[token])

    async def _lose(self, attempt: _Attempt) -> None:
        prediction_id = attempt.claim.record.submission.id
        if self._attempts.get(prediction_id) is not attempt or attempt.runner.runner is None:
            return
        attempt.is_lost = True
        _log.warning("the claim on prediction %s has lapsed; its run is stopped", prediction_id)
        await attempt.runner.runner.cancel(prediction_id)

    async def _look_after_due(self) -> None:
        due = await self._queue.next_due(now=self._looked_at)
        wait = None if due is None else max(0.0, (due - self._clock.now()).total_seconds())
        # A clock that is set must not make us sleep through what it has brought nearer.
        await self._due.wait(30.0 if wait is None else min(wait, 30.0))
        if wait is None:
            return
        now = self._clock.now()
        while overdue := await self._queue.expire(now=now):  # a call ends no more than so many
            for prediction_id in overdue:
                self._ended_in_queue(prediction_id)
        for revision in await self._queue.load(now=now):
            self.demand(revision)
        self._hooks.demand()
        self._looked_at = now  # not before: what fails above is done again


def _weight(event: Event) -> int:
    """About how many bytes an event takes in memory."""
    if isinstance(event, Log):
        return len(event.data)
    return weigh(event.output.value) if isinstance(event, Output) else _SMALL_EVENT_BYTES


def _inward(change: Callable[[object], object], event: Output) -> OutputValue:
    value = event.output.value
    changed = change(value)
    return event.output if changed is value else OutputValue(value=changed)


def _happening(problem: Exception) -> Happening:
    if isinstance(problem, _TookTooLong):
        return Happening.TOOK_TOO_LONG
    if isinstance(problem, RunnerRefused):
        return {
            Answer.BUSY: Happening.BUSY,
            Answer.SERVER_ERROR: Happening.SERVER_ERROR,
            Answer.UNAVAILABLE: Happening.UNAVAILABLE,
            Answer.TIMEOUT: Happening.TIMEOUT,
        }[problem.answer]
    return Happening.LOST
