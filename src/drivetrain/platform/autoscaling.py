"""How many runners an app should have now; pure.

For every revision that answers, or of which something waits, two numbers follow from the load:

- the *goal*: below it runners are started. Requests under way and waiting, divided by what one runner takes, plus the buffer,
  and no less than the minimum (fal). ``QUEUE_DELAY`` comes nearer to it by one runner at a time, ``REQUEST_COUNT`` divides by
  its own number (RunPod).
- the *floor*: above it idle runners leave once their time is over. The same sum, but a request counts from its first moment, so
  that no runner leaves for which one waits.

Between the two lies what has not been idle for long enough, and nothing happens: that is what keeps the number from flapping.

``max_runners`` counts what starts, is ready, or is draining; only what drains of a revision that no longer answers is not
counted, or a deploy would wait for the longest prediction of its forerunner. If the revisions of an app together want more, each
gets one before any gets two; and if there are not even that many, they take turns. A revision that no longer answers keeps what
it needs for those who still wait for it, or ask for it by its id; its runners leave as soon as nobody does.

Memory and GPUs are no concern of this module: see ``placement``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import TypeAlias

from drivetrain.platform.app import AppName, RevisionId, Scaler, Scaling, Share
from drivetrain.platform.fleet import RunnerId
from drivetrain.platform.queue import Load

#: After so many consecutive failed starts the next waits this much longer for each of them, up to a bound (fal).
_BACK_OFF = timedelta(seconds=30)
_LONGEST_BACK_OFF = timedelta(minutes=10)

#: A runner that no machine has room for, even if it were empty, is asked for again this much later (fal).
IMPOSSIBLE_AGAIN = timedelta(seconds=20)

#: A runner that became ready for requests that have gone elsewhere leaves this soon (fal).
_UNUSED_KEEP_ALIVE = timedelta(seconds=10)

#: Where two revisions must share one place, each has it for this long before the other's turn comes. Long against most set-ups.
TURN = timedelta(seconds=60)

_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)
_FAR_AHEAD = datetime.max.replace(tzinfo=timezone.utc)

_NOTHING = Load(waiting=0, running=0, oldest_waiting_at=None)


class RunnerState(str, Enum):
    """What a runner is good for."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"  #: is given nothing more


@dataclass(frozen=True, kw_only=True)
class RunnerFacts:
    """What is known of one runner.

    Attributes:
        busy: Predictions under way in it.
        ready_at: Since when it is ready.
        idle_since: Since when nothing is under way in it; ``None`` while something is, or before it is ready.
        ever_served: Whether a request was ever sent to it, or it was started for more than one: a runner that proved a deploy.
    """

    id: RunnerId
    revision: RevisionId
    state: RunnerState
    busy: int = 0
    ready_at: datetime | None = None
    started_at: datetime
    idle_since: datetime | None = None
    ever_served: bool = False


@dataclass(frozen=True, kw_only=True)
class StartFailures:
    """Starts of a revision's runners that failed in a row, up to now. A runner that becomes ready clears them."""

    count: int
    last_at: datetime


@dataclass(frozen=True, kw_only=True)
class Impossible:
    """A revision's runner is too large for any machine; why, as ``placement`` says it."""

    at: datetime
    sentence: str


@dataclass(frozen=True, kw_only=True)
class AppFacts:
    """All that the decision depends on.

    Moments are of a clock that does not go back; only a load's may lie ahead of ``now``, after the machine's clock was set back.

    Attributes:
        alias: The revisions that answer.
        released_at: When the alias was last switched. What was started earlier, for a revision that it does not name, is kept for
            nobody.
        slots: How many predictions a runner of a revision takes at once; 1 where it is not said.
        loads: Waiting and running of each revision that has any, whether it answers or not.
        runners: All that live, without those that prove a revision which does not answer yet.
        failures: Of revisions whose last start failed.
        impossible: Revisions whose runner was last found to be too large.
        left_at: When a revision's latest runner to leave did so. Decides whose turn it is.
    """

    name: AppName
    scaling: Scaling
    alias: Sequence[Share] = ()
    released_at: datetime | None = None
    slots: Mapping[RevisionId, int] = field(default_factory=dict)
    loads: Mapping[RevisionId, Load] = field(default_factory=dict)
    runners: Sequence[RunnerFacts] = ()
    failures: Mapping[RevisionId, StartFailures] = field(default_factory=dict)
    impossible: Mapping[RevisionId, Impossible] = field(default_factory=dict)
    left_at: Mapping[RevisionId, datetime] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Start:
    """Start a runner.

    Attributes:
        urgent: Whether a request or the minimum asks for it, and not just the buffer. Only then may others make room for it.
    """

    revision: RevisionId
    urgent: bool


@dataclass(frozen=True, kw_only=True)
class Stop:
    """End a runner in which nothing is under way. Whoever carries it out leaves it if that has changed meanwhile."""

    runner: RunnerId
    reason: str


@dataclass(frozen=True, kw_only=True)
class Drain:
    """Give a runner nothing more; it is stopped when what is under way in it has ended."""

    runner: RunnerId
    reason: str


Action: TypeAlias = Start | Stop | Drain


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do now.

    Attributes:
        actions: In any order.
        look_again_at: If none of the facts changes before, nothing is to be done until then; ``None`` is for ever.
        held_back: Why a revision has fewer runners than its load asks for and none is started, as a sentence about the app.
    """

    actions: tuple[Action, ...] = ()
    look_again_at: datetime | None = None
    held_back: Mapping[RevisionId, str] = field(default_factory=dict)


def decide(facts: AppFacts, now: datetime) -> Decision:
    """What to do about an app's runners.

    Promises: no start that leads above ``max_runners``; no stop of a runner in which something is under way; no action when the
    previous ones were carried out and nothing else has changed.
    """
    return _Deciding(facts, now).decide()


@dataclass(kw_only=True)
class _Revision:
    """One revision's part of the decision."""

    id: RevisionId
    answers: bool
    load: Load
    slots: int
    minimum: int = 0
    buffer: int = 0
    runners: list[RunnerFacts]
    goal: int = 0
    asked: int = 0
    allowed: int = 0

    def of(self, state: RunnerState) -> list[RunnerFacts]:
        return [runner for runner in self.runners if runner.state is state]

    @property
    def crew(self) -> list[RunnerFacts]:
        """Those that take requests, now or soon."""
        return [runner for runner in self.runners if runner.state is not RunnerState.DRAINING]

    @property
    def under_way(self) -> int:
        # The runners are looked at after the queue. What one of them has taken from it meanwhile is among those that wait.
        return min(sum(runner.busy for runner in self.crew), self.load.running)

    @property
    def demand(self) -> int:
        return self.under_way + self.load.waiting

    @property
    def missing(self) -> int:
        return max(0, self.allowed - len(self.crew))

    @property
    def missing_for_requests(self) -> int:
        """How many more are missed by requests that wait."""
        return max(0, self.asked - len(self.crew)) if self.load.waiting else 0

    @property
    def needed(self) -> int:
        """What the minimum asks for, and requests if one waits: ``REQUEST_COUNT`` asks for more than they can use."""
        return max(self.minimum, self.asked if self.load.waiting else 0)


class _Deciding:
    """One decision while it is made."""

    def __init__(self, facts: AppFacts, now: datetime) -> None:
        self.facts = facts
        self.now = now
        self.scaling = facts.scaling
        self.actions: list[Action] = []
        self.leaving: set[RunnerId] = set()
        self.moments: list[datetime] = []
        self.held_back: dict[RevisionId, str] = {}
        self.revisions = self._revisions()

    def decide(self) -> Decision:
        for revision in self.revisions:
            revision.asked, revision.goal = self._asked_and_goal(revision)
        self._allow()
        starts = {revision.id: self._startable(revision) for revision in self.revisions}
        self._dismiss()
        self._shed(sum(min(starts[revision.id], revision.missing_for_requests) for revision in self.revisions))
        self._start(starts)
        return Decision(actions=tuple(self.actions), look_again_at=min(self.moments, default=None), held_back=self.held_back)

    # What each revision wants

    def _revisions(self) -> list[_Revision]:
        facts = self.facts
        answering = {share.revision: share.percent for share in facts.alias if share.percent > 0}
        minimums = _divide(facts.scaling.min_runners, answering)
        buffers = _divide(facts.scaling.buffer, answering)
        ids = dict.fromkeys([*answering, *facts.loads, *(runner.revision for runner in facts.runners)])
        return [
            _Revision(
                id=each,
                answers=each in answering,
                load=facts.loads.get(each, _NOTHING),
                slots=max(1, facts.slots.get(each, 1)),
                minimum=minimums.get(each, 0),
                buffer=buffers.get(each, 0),
                runners=[runner for runner in facts.runners if runner.revision == each],
            )
            for each in ids
        ]

    def _asked_and_goal(self, revision: _Revision) -> tuple[int, int]:
        """How many runners the requests ask for, and how many there should be."""
        waiting = revision.load.waiting if self._has_waited(revision, self.scaling.scaling_delay) else 0
        demand = revision.under_way + waiting
        if self.scaling.scaler is Scaler.REQUEST_COUNT:
            asked = math.ceil(demand / max(1.0, self.scaling.scaler_value))
        else:
            asked = math.ceil(demand / revision.slots)
        goal = asked + self._buffer(revision, demand)
        if self.scaling.scaler is Scaler.QUEUE_DELAY:
            reached = self._reached_by_queue_delay(revision, goal)
            asked = min(asked, reached)
            goal = max(self._buffer(revision, 0), min(goal, reached))
        return asked, min(max(revision.minimum, goal), self.scaling.max_runners)

    def _reached_by_queue_delay(self, revision: _Revision, goal: int) -> int:
        """One more than there are if a request has waited too long since the last was started; the first comes at once."""
        crew = revision.crew
        if not crew:
            return 1
        if len(crew) >= min(goal, self.scaling.max_runners):
            return len(crew)
        delay = timedelta(seconds=max(0.0, self.scaling.scaler_value))
        has_waited = self._has_waited(revision, delay)
        is_time = self._is_past(max(runner.started_at for runner in crew) + delay)
        return len(crew) + 1 if has_waited and is_time else len(crew)

    def _has_waited(self, revision: _Revision, delay: timedelta) -> bool:
        since = revision.load.oldest_waiting_at
        if not revision.load.waiting or since is None or since > self.now:  # the clock was set back: nobody knows, so long enough
            return True
        return self._is_past(since + delay)

    def _buffer(self, revision: _Revision, demand: int) -> int:
        if not revision.answers:
            return 0
        return max(revision.buffer, math.ceil(demand * self.scaling.buffer_percent / 100 / revision.slots))

    def _floor(self, revision: _Revision) -> int:
        per_runner = revision.slots
        if self.scaling.scaler is Scaler.REQUEST_COUNT:
            per_runner = max(1, int(self.scaling.scaler_value))
        needed = math.ceil(revision.demand / per_runner)
        return max(revision.minimum, needed + self._buffer(revision, revision.demand))

    # Who gets how many of the maximum

    def _allow(self) -> None:
        """Divide the maximum: one each in order of turn, the rest to who has the smallest part of what it wants."""
        left = self.scaling.max_runners
        wanting = sorted((revision for revision in self.revisions if revision.goal), key=self._turn)
        for revision in wanting[: max(0, left)]:
            revision.allowed = 1
        left -= len(wanting)
        while left > 0:
            short = [revision for revision in wanting if revision.allowed < revision.goal]
            if not short:
                return
            least = min(short, key=lambda each: (each.allowed / each.goal, each.allowed >= len(each.crew), each.id))
            least.allowed += 1
            left -= 1

    def _turn(self, revision: _Revision) -> tuple[bool, bool, datetime, datetime, str]:
        """First those with requests; of them those that have no runner; of them those that have been without for longest.

        Those without requests keep what they have: nobody waits for another's turn.
        """
        return (
            not revision.demand,
            bool(revision.runners) if revision.demand else not revision.runners,
            self.facts.left_at.get(revision.id, _LONG_AGO),
            revision.load.oldest_waiting_at or _FAR_AHEAD,
            revision.id,
        )

    def _startable(self, revision: _Revision) -> int:
        """How many of the missing may be tried now."""
        if not revision.missing:
            if revision.needed > len(revision.crew):
                self._hold_back(revision, self._reason_for_maximum())
            return 0
        impossible = self.facts.impossible.get(revision.id)
        if impossible is not None and not self._is_past(impossible.at + IMPOSSIBLE_AGAIN):
            self._hold_back(revision, impossible.sentence)
            return 0
        failures = self.facts.failures.get(revision.id)
        if failures is None or failures.count < 1:
            return revision.missing
        again_at = failures.last_at + min(failures.count * _BACK_OFF, _LONGEST_BACK_OFF)
        times = "time" if failures.count == 1 else f"{failures.count} times in a row"
        if not self._is_past(again_at):
            self._hold_back(revision, f"its runners failed to start the last {times}; the next try is at {again_at:%H:%M:%S} UTC")
            return 0
        return 0 if revision.of(RunnerState.STARTING) else 1  # one tries whether it works again

    def _reason_for_maximum(self) -> str:
        limit = self.scaling.max_runners
        return f"it may have {limit} runner{'' if limit == 1 else 's'} at most"

    # Who leaves

    def _dismiss(self) -> None:
        """Stop those whose time is over."""
        for revision in self.revisions:
            for runner in revision.of(RunnerState.DRAINING):
                if not runner.busy:
                    self._stop(runner, "it has drained")
            if not revision.answers and not revision.demand and not revision.goal:
                for runner in revision.of(RunnerState.STARTING):
                    self._stop(runner, "its revision no longer answers")
            ready = revision.of(RunnerState.READY)
            surplus = max(0, len(ready) - self._floor(revision))
            idle = sorted((self._leaves_at(revision, runner), runner.id, runner) for runner in ready if not runner.busy)
            for leaves_at, _, runner in idle[:surplus]:
                if self._is_past(leaves_at):
                    self._stop(runner, self._reason_to_leave(revision, runner))

    def _leaves_at(self, revision: _Revision, runner: RunnerFacts) -> datetime:
        idle_since = runner.idle_since or runner.started_at
        if self._is_of_the_past(revision, runner):
            return idle_since
        keep_alive = self.scaling.keep_alive
        return idle_since + (keep_alive if runner.ever_served else min(keep_alive, _UNUSED_KEEP_ALIVE))

    def _reason_to_leave(self, revision: _Revision, runner: RunnerFacts) -> str:
        if self._is_of_the_past(revision, runner):
            return "its revision no longer answers"
        if not runner.ever_served:
            return "no request came for it"
        return f"it had no request for {self.scaling.keep_alive.total_seconds():g} s"

    def _is_of_the_past(self, revision: _Revision, runner: RunnerFacts) -> bool:
        """Whether it was started for an alias that has been switched, rather than for somebody who asked for its revision."""
        return not revision.answers and (self.facts.released_at is None or runner.started_at <= self.facts.released_at)

    def _shed(self, urgent_starts: int) -> None:
        """Make room where there are more than the maximum, or where one revision has what it is another's turn to have."""
        limit = self.scaling.max_runners
        crew = [runner for revision in self.revisions for runner in revision.crew if runner.id not in self.leaving]
        over = len(crew) - limit
        for revision in sorted(self.revisions, key=lambda each: (each.answers, each.id)):
            for runner in self._victims(revision):
                if over + urgent_starts <= 0:
                    return
                if self._give_way(revision, runner, is_over=over > 0):
                    over -= 1

    def _victims(self, revision: _Revision) -> list[RunnerFacts]:
        """The runners it has above what it is allowed, those that cost least first."""
        crew = [runner for runner in revision.crew if runner.id not in self.leaving]
        crew.sort(key=lambda each: (each.busy, each.state is RunnerState.READY, each.ready_at or each.started_at, each.id))
        return crew[: max(0, len(crew) - revision.allowed)]

    def _give_way(self, revision: _Revision, runner: RunnerFacts, *, is_over: bool) -> bool:
        """End a runner, if it may be. What starts is left to, or two revisions with long set-ups would never get anywhere."""
        if is_over:
            reason = self._reason_for_maximum().replace("it may", "the app may")
        elif runner.state is RunnerState.STARTING:
            return False
        else:
            reason = "another revision of the app needs its place"
            is_working = runner.busy or revision.load.waiting
            if is_working and not self._is_past((runner.ready_at or runner.started_at) + TURN):
                return False
        if runner.busy:
            self._drain(runner, reason)
        else:
            self._stop(runner, reason)
        return True

    # Who comes

    def _start(self, starts: Mapping[RevisionId, int]) -> None:
        room = self.scaling.max_runners - sum(self._counted(revision) for revision in self.revisions)
        for revision in sorted(self.revisions, key=self._turn):
            wanted = starts[revision.id]
            for number in range(min(wanted, max(0, room))):
                is_urgent = len(revision.crew) + number < revision.needed
                self.actions.append(Start(revision=revision.id, urgent=is_urgent))
            if room < wanted and revision.needed > len(revision.crew) + max(0, room):
                self._hold_back(revision, self._reason_for_maximum())
            room -= wanted

    def _counted(self, revision: _Revision) -> int:
        """How many of its runners count towards the maximum; one that is stopped or drained now still does."""
        return len(revision.runners if revision.answers else revision.crew)

    # Writing down

    def _stop(self, runner: RunnerFacts, reason: str) -> None:
        if runner.id not in self.leaving:
            self.leaving.add(runner.id)
            self.actions.append(Stop(runner=runner.id, reason=reason))

    def _drain(self, runner: RunnerFacts, reason: str) -> None:
        self.leaving.add(runner.id)
        self.actions.append(Drain(runner=runner.id, reason=reason))

    def _hold_back(self, revision: _Revision, reason: str) -> None:
        self.held_back.setdefault(revision.id, reason)

    def _is_past(self, moment: datetime) -> bool:
        """Whether a moment has come; if not, it is one to look again at."""
        if moment > self.now:
            self.moments.append(moment)
        return moment <= self.now


def _divide(count: int, percents: Mapping[RevisionId, int]) -> dict[RevisionId, int]:
    """Divide a number in proportion; what is left over by rounding goes to the largest remainders."""
    whole = sum(percents.values())
    if not whole:
        return {}
    exact = {each: count * percent / whole for each, percent in percents.items()}
    parts = {each: int(value) for each, value in exact.items()}
    by_remainder = sorted(exact, key=lambda each: (parts[each] - exact[each], each))
    for each in by_remainder[: count - sum(parts.values())]:
        parts[each] += 1
    return parts
