"""The loop that keeps as many runners as are needed: gathers facts, has ``autoscaling`` and ``placement`` decide, carries it out.

It is the only one that starts and ends runners. It looks when something has happened, and when a decision asked to be looked at
again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from drivetrain.model.errors import DrivetrainError, OutsideFailed
from drivetrain.platform import autoscaling
from drivetrain.platform.app import App, AppName, Revision, RevisionId
from drivetrain.platform.autoscaling import AppFacts, Decision, Impossible, RunnerFacts, Start, StartFailures, Stop
from drivetrain.platform.catalog import Catalog
from drivetrain.platform.clock import Clock
from drivetrain.platform.dispatch import Dispatcher
from drivetrain.platform.fleet import Fleet, Grant, Ready, RunnerId, RunnerOrder, SetupFailed
from drivetrain.platform.gate import RunnerFiles, RunnerGate
from drivetrain.platform.ids import Ids
from drivetrain.platform.logs import RunnerLogs
from drivetrain.platform.options import PlatformOptions
from drivetrain.platform.placement import Held, Placement, Refusal, Situation, Wanted, place
from drivetrain.platform.queue import Load, QueueStore
from drivetrain.platform.runners import LiveRunner, Runners, RunnerState
from drivetrain.platform.secret import SecretStore, Vault
from drivetrain.platform.sources import Sources
from drivetrain.platform.tasks import Signal, Tasks

_log = logging.getLogger(__name__)

#: Looked at least so often, whatever was decided.
_LONGEST_SLEEP = timedelta(seconds=30)

#: And no oftener: when thousands of predictions come in a second, they are looked at together.
_SHORTEST_SLEEP_SECONDS = 0.05

#: For what runners have left to say when the platform stops, such as their spans.
_LAST_GRACE = timedelta(seconds=2)

#: How long a deployment waits for room that is being made: idle runners end in less, what runs in others may take longer.
_ROOM_SECONDS = 30.0

#: That a runner has become idle is no haste.
_SOON_SECONDS = 0.25


class NoRoom(OutsideFailed):
    """A runner cannot be placed."""

    code = "no_room"


@dataclass(kw_only=True)
class _History:
    """What has happened to the runners of a revision."""

    failures: StartFailures | None = None
    impossible: Impossible | None = None
    left_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class ScalingPorts:
    """What the loop needs of others."""

    fleet: Fleet
    queue: QueueStore
    secrets: SecretStore
    vault: Vault
    catalog: Catalog
    runners: Runners
    gate: RunnerGate
    logs: RunnerLogs
    sources: Sources
    clock: Clock
    ids: Ids
    options: PlatformOptions


@dataclass(kw_only=True)
class ColdStarts:
    """How long runners took from the decision to start them until they were ready, for the metrics."""

    count: int = 0
    failed: int = 0
    seconds: float = 0.0


class Scaling:
    """Owns the life of every runner.

    Attributes:
        unplaced: Apps that want a runner and get none now, and why.
        cold_starts: How starts went.
    """

    def __init__(self, ports: ScalingPorts) -> None:
        self._ports = ports
        self._tasks = Tasks()
        self._signal = Signal()
        self._history: dict[RevisionId, _History] = {}
        self._released_at: dict[AppName, datetime] = {}
        self._held: dict[AppName, int] = {}
        self._placed_at: dict[AppName, datetime] = {}
        #: What deployments wait for room for, and what tells each of them that a runner has left.
        self._proofs: dict[Wanted, Signal] = {}
        self._dispatcher: Dispatcher | None = None
        self._is_stopping = False
        self._soon: asyncio.TimerHandle | None = None
        self.unplaced: dict[AppName, str] = {}
        self.cold_starts = ColdStarts()

    def start(self, dispatcher: Dispatcher) -> None:
        """Begin to look."""
        self._dispatcher = dispatcher
        self._tasks.spawn_loop(self._round, "scaling")

    async def stop(self) -> None:
        """End every runner and look no more; predictions have had their grace. May be called twice."""
        self._is_stopping = True
        await asyncio.gather(*(runner.runner.stop(_LAST_GRACE) for runner in self._ports.runners if runner.runner is not None))
        await self._tasks.aclose()

    def wake(self) -> None:
        """Something has happened: look."""
        self._signal.wake()

    def wake_soon(self) -> None:
        """Something has happened that can wait a moment."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(_SOON_SECONDS, self._wake_now)

    def _wake_now(self) -> None:
        self._soon = None
        self._signal.wake()

    def released(self, app: AppName) -> None:
        """The alias of an app was switched."""
        self._released_at[app] = self._ports.clock.steady()
        self.wake()

    @contextlib.contextmanager
    def held(self, app: AppName) -> Iterator[None]:
        """Start no runner of an app by demand until the block is left."""
        self._held[app] = self._held.get(app, 0) + 1
        try:
            yield
        finally:
            self._held[app] -= 1
            if not self._held[app]:
                del self._held[app]
            self.wake()

    async def prove(self, revision: Revision, log: Callable[[str], None]) -> LiveRunner:
        """Start a runner of a revision that does not answer yet, and wait until it is ready.

        Other apps make room for it as for a request, but for what is under way.

        Args:
            log: Is told what it writes meanwhile.

        Raises:
            NoRoom: It cannot be placed now.
            SetupFailed: It did not become ready.
        """
        app = self._ports.catalog.app(revision.app)
        live = self._new_runner(app, revision, await self._room_for_proof(app, revision), is_proof=True)
        try:
            await self._bring_up(live, app, revision, log)
        except SetupFailed as error:
            self.end(live, now=True)
            raise SetupFailed(error.message, hint=error.hint) from error  # its detail is what the log has just told
        except BaseException:
            self.end(live, now=True)
            raise
        return live

    def adopt(self, runner: LiveRunner) -> None:
        """The revision that a runner has proved answers now: it takes its part of the requests."""
        runner.is_proof = False
        runner.has_proved = True
        runner.idle_since = self._ports.clock.steady()
        if self._dispatcher is not None:
            self._dispatcher.demand(runner.revision)
        self.wake()

    def end(self, runner: LiveRunner, *, now: bool, reason: str = "it was told to") -> None:
        """End a runner, after its predictions or at once. May be called twice."""
        if runner.state is RunnerState.ENDED:
            return
        runner.state = RunnerState.DRAINING
        runner.why_ended = runner.why_ended or reason
        if runner.runner is None:
            return  # whoever starts it sees that it drains
        grace = timedelta(0) if now else self._ports.options.drain_grace
        self._tasks.spawn(self._stop_runner(runner, grace), f"stopping runner {runner.id}")

    async def end_all(self, app: AppName, *, now: bool = False) -> None:
        """End an app's runners, and wait until they have ended."""
        runners = [runner for runner in self._ports.runners if runner.app == app]
        for runner in runners:
            self.end(runner, now=now, reason="its app is taken out of service")
        ends = [runner.runner.ended for runner in runners if runner.runner is not None]
        if ends:
            await asyncio.wait(ends)

    # One round

    async def _round(self) -> None:
        loads = await self._ports.queue.load(now=self._ports.clock.now())
        now = self._ports.clock.steady()
        decisions = {app.name: self._decide(app, loads, now) for app in self._ports.catalog.apps()}
        self._retire_strangers()
        wanted = list(self._proofs)
        reasons: dict[AppName, str] = {}
        for name, decision in decisions.items():
            app = self._ports.catalog.find_app(name)
            if app is None:
                continue
            self._carry_out(decision)
            if name not in self._held:
                starts = [action for action in decision.actions if isinstance(action, Start)]
                wanted += [self._wanted(app, start, loads.get(start.revision)) for start in starts]
            if decision.held_back:
                reasons[name] = next(iter(decision.held_back.values()))
        placement = self._start_placed(wanted)
        self.unplaced = {**reasons, **{wanted[number].app: refusal.sentence for number, refusal in placement.refusals.items()}}
        moments = [*(decision.look_again_at for decision in decisions.values()), placement.look_again_at]
        sleep = min((*(moment - now for moment in moments if moment is not None), _LONGEST_SLEEP))
        await asyncio.sleep(_SHORTEST_SLEEP_SECONDS)
        await self._signal.wait(max(0.0, sleep.total_seconds()))

    def _decide(self, app: App, loads: Mapping[RevisionId, Load], now: datetime) -> Decision:
        own = [runner for runner in self._ports.runners if runner.app == app.name]
        revisions = {revision.id: revision for revision in self._ports.catalog.revisions(app.name)}
        facts = AppFacts(
            name=app.name,
            scaling=app.scaling,
            alias=app.alias,
            released_at=self._released_at.get(app.name),
            slots={key: app.scaling.concurrency or revision.concurrency for key, revision in revisions.items()},
            loads={key: load for key, load in loads.items() if key in revisions},
            runners=[_facts(runner) for runner in own if not runner.is_proof],
            failures={key: history.failures for key in revisions if (history := self._history.get(key)) and history.failures},
            impossible={key: history.impossible for key in revisions if (history := self._history.get(key)) and history.impossible},
            left_at={key: history.left_at for key in revisions if (history := self._history.get(key)) and history.left_at},
        )
        return autoscaling.decide(facts, now)

    def _carry_out(self, decision: Decision) -> None:
        for action in decision.actions:
            if isinstance(action, Start):
                continue
            runner = self._ports.runners.find(action.runner)
            if runner is None or (isinstance(action, Stop) and not runner.is_idle):
                continue
            self.end(runner, now=isinstance(action, Stop), reason=action.reason)

    def _retire_strangers(self) -> None:
        """Runners whose app is gone."""
        for runner in self._ports.runners:
            if self._ports.catalog.find_app(runner.app) is None and runner.state is not RunnerState.DRAINING:
                self.end(runner, now=True, reason="its app is gone")

    # Placing

    @staticmethod
    def _wanted(app: App, start: Start, load: Load | None) -> Wanted:
        return Wanted(
            app=app.name,
            revision=start.revision,
            resources=app.resources,
            urgent=start.urgent,
            waiting_since=load.oldest_waiting_at if load is not None else None,
        )

    def _place(self, wanted: list[Wanted]) -> Placement:
        situation = Situation(
            capacity=self._ports.fleet.capacity,
            held=[_held(runner) for runner in self._ports.runners],
            minimums={app.name: app.scaling.min_runners for app in self._ports.catalog.apps()},
            placed_at=self._placed_at,
        )
        return place(situation, wanted, self._ports.clock.steady())

    async def _room_for_proof(self, app: App, revision: Revision) -> Grant:
        """A part of the machine, once there is room.

        Raises:
            NoRoom: There is none, and none is going to be made soon.
        """
        clock = self._ports.clock
        want = Wanted(app=app.name, revision=revision.id, resources=app.resources, waiting_since=clock.steady(), is_proof=True)
        deadline = clock.monotonic() + _ROOM_SECONDS
        freed = self._proofs[want] = Signal()
        try:
            while True:
                placement = self._place([want])
                if not placement.refusals:
                    return placement.grants[0]
                refusal, left = placement.refusals[0], deadline - clock.monotonic()
                if not refusal.is_coming or left <= 0:
                    raise self._no_room(app, refusal)
                self._make_room(placement)
                await freed.wait(left)
        finally:
            del self._proofs[want]

    def _no_room(self, app: App, refusal: Refusal) -> NoRoom:
        has_runners = any(runner.app == app.name for runner in self._ports.runners)
        hint = "'--strategy recreate' ends the old runners first" if has_runners and not refusal.is_impossible else None
        return NoRoom(f"a runner of '{app.name}' cannot be placed: {refusal.sentence}", hint=hint)

    def _start_placed(self, wanted: list[Wanted]) -> Placement:
        """Start what there is room for, and let others make room for the rest."""
        if self._is_stopping:
            return Placement()
        placement = self._place(wanted)
        for number, grant in placement.grants.items():
            if not wanted[number].is_proof:  # whose deployment takes the room that is left for it
                self._start_one(wanted[number], grant)
        self._make_room(placement)
        for number, refusal in placement.refusals.items():
            if refusal.is_impossible:
                found = Impossible(at=self._ports.clock.steady(), sentence=refusal.sentence)
                self._of(wanted[number].revision).impossible = found
        return placement

    def _make_room(self, placement: Placement) -> None:
        for runner_id in (*placement.to_stop, *placement.to_drain):
            runner = self._ports.runners.find(runner_id)
            if runner is not None and (runner.is_idle or runner_id in placement.to_drain):
                self.end(runner, now=runner.is_idle, reason="another app needs its place")

    def _start_one(self, wanted: Wanted, grant: Grant) -> None:
        app = self._ports.catalog.find_app(wanted.app)
        revision = self._ports.catalog.find_revision(wanted.revision)
        if app is None or revision is None:
            return
        self._placed_at[app.name] = self._ports.clock.steady()
        live = self._new_runner(app, revision, grant)
        self._tasks.spawn(self._try_to_bring_up(live, app, revision), f"starting runner {live.id}")

    # The life of a runner

    def _new_runner(self, app: App, revision: Revision, grant: Grant, *, is_proof: bool = False) -> LiveRunner:
        live = LiveRunner(
            id=RunnerId(self._ports.ids.short()),
            app=app.name,
            revision=revision.id,
            grant=grant,
            started_at=self._ports.clock.steady(),
            is_proof=is_proof,
        )
        self._ports.runners.add(live)
        return live

    async def _try_to_bring_up(self, live: LiveRunner, app: App, revision: Revision) -> None:
        try:
            await self._bring_up(live, app, revision)
        except DrivetrainError as error:
            self._ports.logs.add(live.app, live.id, f"the runner did not become ready: {error.message}\n")
            self.end(live, now=True, reason=error.message)

    async def _bring_up(
        self, live: LiveRunner, app: App, revision: Revision, also_log: Callable[[str], None] | None = None
    ) -> None:
        """Start a runner and wait until it is ready.

        Raises:
            OutsideFailed: It did not get there.
        """
        begun = self._ports.clock.monotonic()
        try:
            ready = await self._started(live, app, revision, also_log)
        except DrivetrainError:
            self._note_failure(live)
            raise
        self._of(live.revision).failures = None
        self.cold_starts.count += 1
        self.cold_starts.seconds += self._ports.clock.monotonic() - begun
        live.ready = ready
        live.slots = ready.concurrency
        live.ready_at = live.idle_since = self._ports.clock.steady()
        if live.state is RunnerState.STARTING:
            live.state = RunnerState.READY
            if not live.is_proof and self._dispatcher is not None:
                self._dispatcher.demand(live.revision)
        self.wake()

    async def _started(self, live: LiveRunner, app: App, revision: Revision, also_log: Callable[[str], None] | None) -> Ready:
        def log(text: str) -> None:
            self._ports.logs.add(live.app, live.id, text)
            if also_log is not None and live.ready is None:
                also_log(text)

        try:
            runner = await self._ports.fleet.start(await self._order(live, app, revision), log)
        except BaseException:
            self._forget(live)
            raise
        live.runner = runner
        self._tasks.spawn(self._bury(live), f"waiting for the end of runner {live.id}")
        if live.state is RunnerState.DRAINING:  # it was told to end before there was anything to tell
            self.end(live, now=True)
        return await runner.ready()

    async def _order(self, live: LiveRunner, app: App, revision: Revision) -> RunnerOrder:
        ports = self._ports
        files = ports.gate.open_for(live.id, app.name)
        return RunnerOrder(
            id=live.id,
            app=app.name,
            revision=revision.id,
            source=ports.sources.path(revision.source),
            data=ports.sources.data_directory(app.name),
            grant=live.grant,
            variables=await self._variables(app.name, revision, live.id, files),
            files_url=files.url,
            concurrency=app.scaling.concurrency,
            startup_timeout=app.scaling.startup_timeout,
            cancel_grace=ports.options.cancel_grace,
        )

    async def _variables(self, app: AppName, revision: Revision, runner_id: RunnerId, files: RunnerFiles) -> dict[str, str]:
        """The model's environment: its owner's secrets, those of the app winning, what the revision brings, and who it is."""
        secrets = await self._ports.secrets.secrets(app.owner)
        shared = [secret for secret in secrets if secret.app is None]
        own = [secret for secret in secrets if secret.app == app]
        variables = {secret.name: self._ports.vault.open(secret.sealed).decode() for secret in (*shared, *own)}
        variables |= {key: str(files.outward(value)) for key, value in revision.variables.items()}
        return variables | {"DRIVETRAIN_APP": str(app), "DRIVETRAIN_REVISION": revision.id, "DRIVETRAIN_RUNNER": runner_id}

    async def _stop_runner(self, live: LiveRunner, grace: timedelta) -> None:
        assert live.runner is not None
        await live.runner.stop(grace)

    async def _bury(self, live: LiveRunner) -> None:
        """Wait for a runner's end, and give back what it held."""
        assert live.runner is not None
        ending = await live.runner.ended
        if not ending.was_asked:
            live.why_ended = f"it {ending.description}"
            _log.warning("runner %s of %s %s", live.id, live.app, ending.description)
            self._ports.logs.add(live.app, live.id, f"the runner {ending.description}\n")
        self._forget(live)

    def _forget(self, live: LiveRunner) -> None:
        self._ports.gate.close_for(live.id)
        self._ports.logs.end(live.app, live.id)
        self._ports.runners.remove(live)
        self._of(live.revision).left_at = self._ports.clock.steady()
        for freed in self._proofs.values():
            freed.wake()
        self.wake()

    def _note_failure(self, live: LiveRunner) -> None:
        history = self._of(live.revision)
        before = history.failures.count if history.failures is not None else 0
        history.failures = StartFailures(count=before + 1, last_at=self._ports.clock.steady())
        self.cold_starts.failed += 1
        self.wake()

    def _of(self, revision: RevisionId) -> _History:
        return self._history.setdefault(revision, _History())


_STATES = {RunnerState.STARTING: autoscaling.RunnerState.STARTING, RunnerState.READY: autoscaling.RunnerState.READY}


def _held(runner: LiveRunner) -> Held:
    return Held(
        runner=runner.id,
        app=runner.app,
        revision=runner.revision,
        grant=runner.grant,
        # One that proves a revision is somebody's deployment, and not to be told to make room.
        state=autoscaling.RunnerState.STARTING if runner.is_proof else _state(runner),
        busy=len(runner.busy) + runner.reserved,
        ready_at=runner.ready_at,
        idle_since=runner.idle_since,
    )


def _facts(runner: LiveRunner) -> RunnerFacts:
    return RunnerFacts(
        id=runner.id,
        revision=runner.revision,
        state=_state(runner),
        busy=len(runner.busy) + runner.reserved,
        ready_at=runner.ready_at,
        started_at=runner.started_at,
        idle_since=runner.idle_since,
        ever_served=runner.served > 0 or runner.has_proved,
    )


def _state(runner: LiveRunner) -> autoscaling.RunnerState:
    return _STATES.get(runner.state, autoscaling.RunnerState.DRAINING)
