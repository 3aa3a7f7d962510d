"""Which of the runners that apps want get a part of the machine now; pure.

Who has fewest runners comes first, then who was last given one longest ago, then who has waited longest. What does not fit while
something smaller behind it does is overtaken for a while, then what gets free is kept for it.

For a runner that a request or a minimum asks for, others make room: idle runners above their app's minimum are stopped at once, the
longest idle first. If that is not enough and the want has waited for a turn, busy ones that have had a turn are drained, as long as
that leaves nobody with less than who comes. So on a machine that is too small for all, apps take turns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from drivetrain.platform.app import AppName, Resources, RevisionId
from drivetrain.platform.autoscaling import TURN, RunnerState
from drivetrain.platform.fleet import Capacity, Grant, RunnerId

#: How long smaller ones may overtake a runner that there is no room for.
_PATIENCE = timedelta(seconds=20)

_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)
_GIB = 1024**3


@dataclass(frozen=True, kw_only=True)
class Held:
    """A runner that holds a part of the machine.

    Attributes:
        busy: Predictions under way in it.
        idle_since: Since when there are none; ``None`` while there are, or before it is ready.
    """

    runner: RunnerId
    app: AppName
    revision: RevisionId
    grant: Grant
    state: RunnerState
    busy: int = 0
    ready_at: datetime | None = None
    idle_since: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One runner that an app wants started.

    Attributes:
        urgent: As ``autoscaling.Start`` says.
        waiting_since: Since when a request or a deployment waits for it; ``None`` if none does.
        is_proof: Whether it is to prove a revision. The app goes on answering meanwhile, so its own runners make no room for it.
    """

    app: AppName
    revision: RevisionId
    resources: Resources
    urgent: bool = True
    waiting_since: datetime | None = None
    is_proof: bool = False


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a runner cannot be started now.

    Attributes:
        sentence: Such as "it needs 2 GPUs; this machine has 1".
        is_impossible: Whether it would not fit even if nothing else were running.
        is_coming: Whether there is room once those have left that are leaving or are now told to.
    """

    sentence: str
    is_impossible: bool = False
    is_coming: bool = False


@dataclass(frozen=True, kw_only=True)
class Placement:
    """What to do with a list of wanted runners; each of them is named by its place in the list.

    Attributes:
        grants: Those that can be started now, and with what.
        refusals: All others.
        to_stop: Idle runners that make room. Whoever carries it out leaves those that are no longer idle.
        to_drain: Busy runners that make room.
        look_again_at: If nothing changes before, place again then; ``None`` is never.
    """

    grants: Mapping[int, Grant] = field(default_factory=dict)
    refusals: Mapping[int, Refusal] = field(default_factory=dict)
    to_stop: tuple[RunnerId, ...] = ()
    to_drain: tuple[RunnerId, ...] = ()
    look_again_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Situation:
    """All that a placement depends on.

    Attributes:
        capacity: What the machine has in all.
        minimums: How many runners of an app are never told to make room.
        placed_at: When an app was last given a runner.
    """

    capacity: Capacity
    held: Sequence[Held] = ()
    minimums: Mapping[AppName, int] = field(default_factory=dict)
    placed_at: Mapping[AppName, datetime] = field(default_factory=dict)


def place(situation: Situation, wanted: Sequence[Wanted], now: datetime) -> Placement:
    """Divide what is free among those who want it, and say of the others why they wait."""
    return _Placing(situation, now).place(wanted)


@dataclass(kw_only=True)
class _Room:
    """An amount of everything; below zero where more was promised than is there."""

    gpus: int
    memory: int
    cpus: float

    def take(self, resources: Resources) -> None:
        self.gpus -= resources.gpus
        self.memory -= resources.memory or 0
        self.cpus -= resources.cpus

    def give(self, grant: Grant) -> None:
        self.gpus += len(grant.gpus)
        self.memory += grant.memory or 0
        self.cpus += grant.cpus

    def lacks(self, resources: Resources) -> list[str]:
        """What there is too little of; nothing is needed of what a runner does not ask for."""
        lacking = []
        if resources.gpus > max(0, self.gpus):
            lacking.append("gpus")
        if resources.memory and resources.memory > self.memory:
            lacking.append("memory")
        if resources.cpus and resources.cpus > self.cpus + 1e-9:  # shares are fractions
            lacking.append("cpus")
        return lacking


class _Placing:
    """One placement while it is made."""

    def __init__(self, situation: Situation, now: datetime) -> None:
        self.capacity = situation.capacity
        self.situation = situation
        self.now = now
        self.free_gpus = self._free_gpus()
        self.free = self._free(situation.held)
        self.outlook = self._free([each for each in situation.held if each.state is not RunnerState.DRAINING])
        self.counts = Counter(each.app for each in situation.held if each.state is not RunnerState.DRAINING)
        self.ready = Counter(each.app for each in situation.held if each.state is RunnerState.READY)
        self.leaving: list[Held] = []
        self.placed: list[Wanted] = []
        self.grants: dict[int, Grant] = {}
        self.refusals: dict[int, Refusal] = {}
        self.moments: list[datetime] = []

    def place(self, wanted: Sequence[Wanted]) -> Placement:
        left = list(enumerate(wanted))
        while left:
            first = min(left, key=lambda each: self._order(each[1]))
            left.remove(first)
            self._grant_or_refuse(*first)
        return Placement(
            grants=self.grants,
            refusals=self.refusals,
            to_stop=tuple(each.runner for each in self.leaving if not each.busy),
            to_drain=tuple(each.runner for each in self.leaving if each.busy),
            look_again_at=min(self.moments, default=None),
        )

    def _order(self, want: Wanted) -> tuple[bool, int, datetime, datetime, AppName, RevisionId]:
        placed_at = self.situation.placed_at.get(want.app, _LONG_AGO)
        return (not want.urgent, self.counts[want.app], placed_at, want.waiting_since or _LONG_AGO, want.app, want.revision)

    def _grant_or_refuse(self, number: int, want: Wanted) -> None:
        if lacking := self._free(()).lacks(want.resources):
            self.refusals[number] = Refusal(sentence=self._too_large(want, lacking[0]), is_impossible=True)
        elif not (lacking := self.free.lacks(want.resources)):
            self.grants[number] = self._grant(want)
        else:
            self.refusals[number] = self._keep_waiting(want, lacking[0])

    def _keep_waiting(self, want: Wanted, lacking: str) -> Refusal:
        sentence = self._reason(want, lacking)
        is_coming = want.urgent and self._make_room(want)
        if is_coming or (want.urgent and self._has_waited(want, _PATIENCE)):
            self.free.take(want.resources)
            self.outlook.take(want.resources)
        return Refusal(sentence=f"{sentence}{self._prospect(want, lacking, is_coming=is_coming)}", is_coming=is_coming)

    def _prospect(self, want: Wanted, lacking: str, *, is_coming: bool) -> str:
        if is_coming:
            return "; room is being made"
        keeping = {each.app for each in self._idle(want) if _HELD[lacking](each.grant) and self._is_minimum(each.app)}
        return (
            f"; 'min_runners' of {_join(sorted(map(str, keeping)))} keeps idle ones from making room"
            if keeping and want.urgent
            else ""
        )

    def _is_minimum(self, app: AppName) -> bool:
        return 0 < self.ready[app] <= self.situation.minimums.get(app, 0)

    def _grant(self, want: Wanted) -> Grant:
        resources = want.resources
        self.placed.append(want)
        self.counts[want.app] += 1
        self.free.take(resources)
        self.outlook.take(resources)
        gpus, self.free_gpus = self.free_gpus[: resources.gpus], self.free_gpus[resources.gpus :]
        return Grant(gpus=tuple(gpus), memory=resources.memory, cpus=resources.cpus)

    # What there is

    def _free_gpus(self) -> list[str]:
        held = {gpu for each in self.situation.held for gpu in each.grant.gpus}
        return [gpu for gpu in self.capacity.gpus if gpu not in held]

    def _free(self, held: Iterable[Held]) -> _Room:
        room = _Room(gpus=len(self.capacity.gpus), memory=self.capacity.memory, cpus=self.capacity.cpus)
        for each in held:
            grant = each.grant
            room.take(Resources(gpus=len(grant.gpus), memory=grant.memory, cpus=grant.cpus))
        return room

    # Who makes room

    def _make_room(self, want: Wanted) -> bool:
        """Whether there will be room for it once those have left that are leaving or are now told to."""
        if not self.outlook.lacks(want.resources):
            return True
        for candidates in (self._idle(want), [*self._idle(want), *self._busy(want)]):
            chosen = self._enough(want, candidates)
            if chosen is not None:
                for held in chosen:
                    self.leaving.append(held)
                    self.outlook.give(held.grant)
                    self.counts[held.app] -= 1
                    self.ready[held.app] -= 1
                return True
        return False

    def _idle(self, want: Wanted) -> list[Held]:
        """Runners that are not used, the longest idle first."""
        found = [
            each for each in self.situation.held if each.state is RunnerState.READY and not each.busy and not _is_own(each, want)
        ]
        return sorted(found, key=lambda each: (each.idle_since or _LONG_AGO, each.runner))

    def _busy(self, want: Wanted) -> list[Held]:
        """Runners that have had their turn, of apps that have more of them than the one that wants; nobody is left with less."""
        found = []
        for each in self.situation.held:
            if each.state is not RunnerState.READY or not each.busy or each.app == want.app or each.ready_at is None:
                continue
            is_fair = not self.counts[want.app] or self.counts[each.app] > self.counts[want.app] + 1
            if is_fair and self._has_waited(want, TURN) and self._is_past(each.ready_at + TURN):
                found.append(each)
        return sorted(found, key=lambda each: (-self.counts[each.app], each.ready_at or _LONG_AGO, each.runner))

    def _enough(self, want: Wanted, candidates: list[Held]) -> list[Held] | None:
        """Of the candidates in their order, no more than are needed for the want; ``None`` if all are too few."""
        chosen: list[Held] = []
        for each in self._spared(candidates):
            if not self._lacks_without(chosen, want):
                break
            chosen.append(each)
        if self._lacks_without(chosen, want):
            return None
        for each in list(chosen):  # an early one may have become needless by a larger one that came later
            others = [other for other in chosen if other is not each]
            if not self._lacks_without(others, want):
                chosen = others
        return chosen

    def _spared(self, candidates: Iterable[Held]) -> Iterable[Held]:
        """Those candidates that do not lead below their app's minimum and have not been told to leave yet."""
        left = self.ready.copy()
        for each in candidates:
            if each not in self.leaving and left[each.app] > self.situation.minimums.get(each.app, 0):
                left[each.app] -= 1
                yield each

    def _lacks_without(self, leaving: Sequence[Held], want: Wanted) -> list[str]:
        room = _Room(gpus=self.outlook.gpus, memory=self.outlook.memory, cpus=self.outlook.cpus)
        for each in leaving:
            room.give(each.grant)
        return room.lacks(want.resources)

    def _has_waited(self, want: Wanted, duration: timedelta) -> bool:
        """A minimum that no request waits for was promised, and has always waited for long enough."""
        return want.waiting_since is None or self._is_past(want.waiting_since + duration)

    def _is_past(self, moment: datetime) -> bool:
        if moment > self.now:
            self.moments.append(moment)
        return moment <= self.now

    # Why not

    def _too_large(self, want: Wanted, kind: str) -> str:
        return f"it needs {_needed(want.resources, kind)}; this machine has {_amount(self._free(()), kind)}"

    def _reason(self, want: Wanted, kind: str) -> str:
        needs = f"it needs {_needed(want.resources, kind)}"
        holders = sorted({str(each.app) for each in self.situation.held if _HELD[kind](each.grant)})
        holders += sorted({str(each.app) for each in self.placed}.difference(holders))
        if not self._really_free().lacks(want.resources):
            return f"{needs}; what is free is kept for an app that has waited for longer"
        free, whole = self._really_free(), self._free(())
        return f"{needs}; {_amount(free, kind)} of {_amount(whole, kind)} {_VERB[kind]} free, the rest is held by {_join(holders)}"

    def _really_free(self) -> _Room:
        """What nobody holds, kept for somebody or not."""
        room = self._free(self.situation.held)
        for each in self.placed:
            room.take(each.resources)
        return room


def _is_own(held: Held, want: Wanted) -> bool:
    return held.app == want.app and (want.is_proof or held.revision == want.revision)


_HELD: Mapping[str, Callable[[Grant], bool]] = {
    "gpus": lambda grant: bool(grant.gpus),
    "memory": lambda grant: bool(grant.memory),
    "cpus": lambda grant: bool(grant.cpus),
}
_VERB: Mapping[str, str] = {"gpus": "are", "memory": "is", "cpus": "are"}


def _needed(resources: Resources, kind: str) -> str:
    if kind == "gpus":
        return f"{resources.gpus} GPU{'' if resources.gpus == 1 else 's'}"
    if kind == "memory":
        return f"{_gibibytes(resources.memory or 0)} of memory"
    return f"{resources.cpus:g} core{'' if resources.cpus == 1 else 's'}"


def _amount(room: _Room, kind: str) -> str:
    if kind == "memory":
        return _gibibytes(max(0, room.memory))
    return f"{max(0, room.gpus if kind == 'gpus' else room.cpus):g}"


def _gibibytes(count: int) -> str:
    return f"{count / _GIB:.3g} GiB"


def _join(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
