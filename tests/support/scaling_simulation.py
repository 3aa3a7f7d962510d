"""Apps, their queues and runners, in simulated time: an event at a time, and between them nothing may be left to do."""

import heapq
import random
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

from drivetrain.platform.app import AppName, Resources, RevisionId, Share
from drivetrain.platform.autoscaling import AppFacts, Drain, RunnerFacts, RunnerState, Start, StartFailures, Stop, decide
from drivetrain.platform.fleet import Capacity, RunnerId
from drivetrain.platform.placement import Held, Situation, Wanted, place
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

    def __init__(self, scaling, traffic, slots=1, revisions=("r0",), name="n"):
        self.name = AppName("o", name)
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
            name=self.name,
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


class Machine:
    """Apps that share the GPUs of a machine.

    Attributes:
        needs: How many GPUs a runner of an app holds.
    """

    def __init__(self, apps, needs, gpus):
        self.apps = {app.name: app for app in apps}
        self.needs = needs
        self.capacity = Capacity(gpus=tuple(map(str, range(gpus))), memory=0, cpus=0)
        self.grants, self.placed_at = {}, {}
        self.now = BEGIN
        self.wakes = []
        self.counts = Counter()

    def run(self):
        """Until nothing more would ever happen."""
        for _ in range(20_000):
            self.scale()
            events = [app.events[0][0] for app in self.apps.values() if app.events]
            if not (moments := [*events, *self.wakes]):
                return self
            assert min(moments) > self.now or min(events, default=None) == self.now, "it would spin"
            self.now = min(moments)
            for app in self.apps.values():
                app.now = self.now
                while app.events and app.events[0][0] <= self.now:
                    _, _, action, arguments = heapq.heappop(app.events)
                    action(*arguments)
                app.dispatch()
        raise AssertionError("it does not come to an end")

    def scale(self):
        for _ in range(20):
            if not self.scale_once():
                return
            for app in self.apps.values():
                app.dispatch()
        raise AssertionError("it does not come to rest")

    def scale_once(self):
        """Whether anything was done."""
        self.wakes = []
        wanted, has_acted = [], False
        for app in self.apps.values():
            app.now = self.now
            decision = decide(app.facts(), self.now)
            self.wakes += [decision.look_again_at] if decision.look_again_at else []
            wanted += [(app, action) for action in decision.actions if isinstance(action, Start)]
            for action in decision.actions:
                if not isinstance(action, Start):
                    app.carry_out(action)
                    has_acted = True
        placement = place(self.situation(), [self.wanted(app, action) for app, action in wanted], self.now)
        self.wakes += [placement.look_again_at] if placement.look_again_at else []
        for number, grant in placement.grants.items():
            app, action = wanted[number]
            app.start(action)
            self.grants[app.name, max(app.runners)] = grant
            self.placed_at[app.name] = self.now
        for runner in placement.to_stop:
            app, identifier = self.find(runner)
            assert app.runners[identifier].busy == 0, "a busy runner was stopped"
            app.leave(identifier)
        for runner in placement.to_drain:
            app, identifier = self.find(runner)
            app.runners[identifier] = replace(app.runners[identifier], state=RunnerState.DRAINING)
            self.counts["turns"] += 1
        return has_acted or bool(placement.grants or placement.to_stop or placement.to_drain)

    def situation(self):
        held = [self.held(app, runner) for app in self.apps.values() for runner in app.runners.values()]
        taken = [gpu for each in held for gpu in each.grant.gpus]
        assert len(taken) == len(set(taken)), "a GPU was granted twice"
        minimums = {app.name: app.scaling.min_runners for app in self.apps.values()}
        return Situation(capacity=self.capacity, held=held, minimums=minimums, placed_at=self.placed_at)

    def held(self, app, runner):
        return Held(
            runner=RunnerId(f"{app.name.name}:{runner.id}"),
            app=app.name,
            revision=runner.revision,
            grant=self.grants[app.name, runner.id],
            state=runner.state,
            busy=runner.busy,
            ready_at=runner.ready_at,
            idle_since=runner.idle_since,
        )

    def wanted(self, app, action):
        queue = app.waiting[action.revision]
        return Wanted(
            app=app.name,
            revision=action.revision,
            resources=Resources(gpus=self.needs[app.name]),
            urgent=action.urgent,
            waiting_since=queue[0] if queue else None,
        )

    def find(self, runner):
        name, _, identifier = runner.partition(":")
        return self.apps[AppName("o", name)], RunnerId(identifier)
