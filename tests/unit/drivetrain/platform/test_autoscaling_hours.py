"""Hours of traffic, failing starts, new releases and changed settings, simulated; what must hold at every moment of them."""

import heapq
import random
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st

from drivetrain.platform.app import AppName, RevisionId, Scaler, Scaling, Share
from drivetrain.platform.autoscaling import AppFacts, Drain, RunnerFacts, RunnerState, Start, StartFailures, Stop, decide
from drivetrain.platform.fleet import RunnerId
from drivetrain.platform.queue import Load

BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Traffic:
    """What happens in a simulation."""

    seed: int
    requests: int
    burst: int
    gap: float  #: mean seconds between bursts
    work: float  #: mean seconds of a prediction
    setup: float  #: mean seconds of a set-up
    failing: float = 0  #: share of starts that fail
    releases: int = 0
    pinned: float = 0  #: share of requests for any revision by its id


class Simulation:
    """An app, its queue and its runners; time jumps from one event to the next."""

    def __init__(self, scaling, traffic, slots=1, revisions=("r0",)):
        self.scaling, self.traffic, self.slots = scaling, traffic, slots
        self.random = random.Random(traffic.seed)
        self.now = BEGIN
        self.alias = [Share(revision=RevisionId(each), percent=100 // len(revisions)) for each in revisions]
        self.known = [share.revision for share in self.alias]
        self.released_at = BEGIN
        self.waiting = defaultdict(deque)
        self.runners, self.failures, self.left_at = {}, {}, {}
        self.events, self.counts, self.sequence = [], Counter(), 0
        self.decision = None
        self.schedule_traffic()

    # The world

    def at(self, moment, action, *arguments):
        self.sequence += 1
        heapq.heappush(self.events, (moment, self.sequence, action, arguments))

    def some(self, mean):
        return timedelta(seconds=self.random.expovariate(1 / mean)) if mean else timedelta(0)

    def schedule_traffic(self):
        moment = BEGIN
        for _ in range(self.traffic.requests):
            moment += self.some(self.traffic.gap)
            self.at(moment, self.arrive, self.random.randint(1, self.traffic.burst))
        self.end_of_traffic = moment
        for _ in range(self.traffic.releases):
            self.at(BEGIN + self.random.random() * (moment - BEGIN), self.release)

    def arrive(self, count):
        for _ in range(count):
            pinned = self.random.random() < self.traffic.pinned
            revision = self.random.choice(self.known if pinned else [share.revision for share in self.alias])
            self.waiting[revision].append(self.now)
            self.counts["requests"] += 1

    def release(self):
        revision = RevisionId(f"r{len(self.known)}")
        self.known.append(revision)
        self.alias = [Share(revision=revision, percent=100)]
        self.released_at = self.now

    def start(self, action):
        self.counts["starts"] += 1
        identifier = RunnerId(f"{self.counts['starts']:05}")
        self.runners[identifier] = RunnerFacts(
            id=identifier, revision=action.revision, state=RunnerState.STARTING, started_at=self.now
        )
        fails = self.random.random() < self.traffic.failing and self.now < self.end_of_traffic
        self.at(self.now + self.some(self.traffic.setup), self.fail if fails else self.become_ready, identifier)

    def become_ready(self, identifier):
        if runner := self.runners.get(identifier):
            self.failures.pop(runner.revision, None)
            self.runners[identifier] = replace(runner, state=RunnerState.READY, ready_at=self.now, idle_since=self.now)

    def fail(self, identifier):
        if runner := self.runners.get(identifier):
            count = self.failures[runner.revision].count if runner.revision in self.failures else 0
            self.failures[runner.revision] = StartFailures(count=count + 1, last_at=self.now)
            self.counts["failures"] += 1
            self.leave(identifier)

    def leave(self, identifier):
        self.left_at[self.runners.pop(identifier).revision] = self.now

    def dispatch(self):
        for identifier, runner in self.runners.items():
            queue = self.waiting[runner.revision]
            while runner.state is RunnerState.READY and queue and runner.busy < self.slots:
                queue.popleft()
                runner = self.runners[identifier] = replace(runner, busy=runner.busy + 1, idle_since=None, ever_served=True)
                self.at(self.now + self.some(self.traffic.work), self.finish, identifier)

    def finish(self, identifier):
        runner = self.runners[identifier]
        idle_since = self.now if runner.busy == 1 else None
        self.runners[identifier] = replace(runner, busy=runner.busy - 1, idle_since=idle_since)
        self.counts["served"] += 1

    # The autoscaler

    def facts(self):
        loads = {}
        for revision in self.known:
            running = sum(runner.busy for runner in self.runners.values() if runner.revision == revision)
            queue = self.waiting[revision]
            if running or queue:
                loads[revision] = Load(waiting=len(queue), running=running, oldest_waiting_at=queue[0] if queue else None)
        return AppFacts(
            name=AppName("o", "n"),
            scaling=self.scaling,
            alias=self.alias,
            released_at=self.released_at,
            slots=dict.fromkeys(self.known, self.slots),
            loads=loads,
            runners=list(self.runners.values()),
            failures=self.failures,
            left_at=self.left_at,
        )

    def scale(self):
        for _ in range(5):
            before = self.facts()
            self.decision = decide(before, self.now)
            if not self.decision.actions:
                return
            for action in self.decision.actions:
                self.carry_out(action)
            self.check_maximum(before)
            self.dispatch()
        raise AssertionError(f"it does not come to rest: {self.decision}")

    def carry_out(self, action):
        match action:
            case Start():
                self.start(action)
            case Stop():
                assert self.runners[action.runner].busy == 0, "a busy runner was stopped"
                self.counts["stops"] += 1
                self.counts["stopped unused"] += not self.runners[action.runner].ever_served
                self.leave(action.runner)
            case Drain():
                assert self.runners[action.runner].busy > 0
                self.runners[action.runner] = replace(self.runners[action.runner], state=RunnerState.DRAINING)

    def check_maximum(self, before):
        answering = {share.revision for share in self.alias}
        counted = [
            runner for runner in self.runners.values() if runner.revision in answering or runner.state is not RunnerState.DRAINING
        ]
        assert len(counted) <= max(self.scaling.max_runners, len(before.runners)), "more than the maximum"

    def check_rest(self, until):
        """Between now and the moment to look again, or the next event, nothing is to be done."""
        until = min(filter(None, [until, self.decision.look_again_at]), default=self.now + timedelta(days=30))
        moment = self.now + self.random.random() * (until - self.now)
        assert decide(self.facts(), moment).actions == () or moment >= until, "a moment to look again was missed"

    def run(self, each_moment=lambda simulation: None):
        """Until nothing more would ever happen."""
        self.scale()
        for _ in range(20_000):
            next_event = self.events[0][0] if self.events else None
            self.check_rest(next_event)
            each_moment(self)
            wakes = [moment for moment in (next_event, self.decision.look_again_at) if moment is not None]
            if not wakes:
                return self
            assert min(wakes) > self.now or next_event == self.now, "it would spin"
            self.now = min(wakes)
            while self.events and self.events[0][0] <= self.now:
                _, _, action, arguments = heapq.heappop(self.events)
                action(*arguments)
            self.dispatch()
            self.scale()
        raise AssertionError("it does not come to an end")


scalings = st.builds(
    Scaling,
    min_runners=st.integers(0, 3),
    max_runners=st.integers(1, 8),
    keep_alive=st.sampled_from([timedelta(0), timedelta(seconds=5), timedelta(seconds=60), timedelta(minutes=20)]),
    buffer=st.integers(0, 2),
    buffer_percent=st.sampled_from([0, 0, 20, 100]),
    scaling_delay=st.sampled_from([timedelta(0), timedelta(seconds=3), timedelta(minutes=1)]),
    scaler=st.sampled_from(Scaler),
    scaler_value=st.sampled_from([0.5, 1, 4, 10]),
)
traffics = st.builds(
    Traffic,
    seed=st.integers(0, 10**6),
    requests=st.integers(1, 30),
    burst=st.integers(1, 8),
    gap=st.sampled_from([0, 1, 20, 120, 600]),
    work=st.sampled_from([0, 0.2, 5, 90]),
    setup=st.sampled_from([0, 0.5, 30, 300]),
    failing=st.sampled_from([0, 0, 0.2, 0.9]),
    releases=st.integers(0, 2),
    pinned=st.sampled_from([0, 0, 0.3]),
)
steady = traffics.map(lambda traffic: replace(traffic, failing=0, releases=0, pinned=0))


@settings(max_examples=300)
@given(scalings, traffics, st.integers(1, 4), st.sampled_from([("r0",), ("r0", "r1"), ("r0", "r1", "r2")]))
def test_hours(scaling, traffic, slots, revisions):
    """Every request is served in the end, and what is left then is what the settings keep."""
    ended = Simulation(scaling, traffic, slots, revisions).run()
    assert ended.counts["served"] == ended.counts["requests"]
    kept = min(max(scaling.min_runners, scaling.buffer), scaling.max_runners)
    assert len(ended.runners) == kept
    assert {runner.revision for runner in ended.runners.values()} <= {share.revision for share in ended.alias}


@settings(max_examples=40)
@given(scalings, traffics, st.integers(1, 4))
def test_every_start_has_a_reason(scaling, traffic, slots):
    """A request, a failure, a release, or the minimum: nothing starts by itself."""
    scaling = replace(scaling, buffer=0, buffer_percent=0)
    counts = Simulation(scaling, traffic, slots).run().counts
    reasons = counts["requests"] + counts["failures"] + scaling.min_runners * (1 + traffic.releases)
    assert counts["starts"] <= reasons


@settings(max_examples=40)
@given(scalings, steady, st.integers(1, 4))
def test_traffic_without_long_pauses_flaps_nothing(scaling, traffic, slots):
    """What has served stays for its time, so it does not have to come again."""
    scaling = replace(scaling, keep_alive=timedelta(days=1))

    def none_left(simulation):
        if simulation.now < BEGIN + scaling.keep_alive:
            assert simulation.counts["starts"] <= scaling.max_runners + simulation.counts["stopped unused"]
            assert simulation.counts["stops"] == simulation.counts["stopped unused"]

    Simulation(scaling, traffic, slots).run(none_left)


@settings(max_examples=40)
@given(scalings, steady, st.integers(1, 4))
def test_demand_is_met_up_to_the_maximum(scaling, traffic, slots):
    """As soon as requests have waited for the scaling delay there are runners for all of them, on their way at least."""
    scaling = replace(scaling, scaler=Scaler.CONCURRENCY)

    def enough(simulation):
        queue = simulation.waiting[RevisionId("r0")]
        under_way = sum(runner.busy for runner in simulation.runners.values())
        if queue and simulation.now - queue[0] >= scaling.scaling_delay:
            wanted = -(-(len(queue) + under_way) // slots)
            assert len(simulation.runners) >= min(scaling.max_runners, wanted)

    Simulation(scaling, traffic, slots).run(enough)


@settings(max_examples=40)
@given(scalings, steady)
def test_to_zero_and_back(scaling, traffic):
    scaling = replace(scaling, min_runners=0, buffer=0)
    simulation = Simulation(scaling, traffic).run()
    assert simulation.runners == {}
    simulation.now += timedelta(hours=1)
    simulation.arrive(1)
    simulation.scale()
    assert simulation.run().counts["served"] == simulation.counts["requests"]
    assert simulation.runners == {}
