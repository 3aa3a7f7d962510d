"""The runners there are: what each is of, how far it has come, and what it is doing. In memory: runners end with the platform."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from drivetrain.model.prediction import PredictionId
from drivetrain.platform.app import AppName, RevisionId
from drivetrain.platform.fleet import Grant, Ready, Runner, RunnerId


class RunnerState(str, Enum):
    """How far a runner has come."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"  #: finishes what it has and takes nothing more
    ENDED = "ended"


@dataclass(frozen=True, kw_only=True)
class RunnerView:
    """A runner as it is shown."""

    id: RunnerId
    app: AppName
    revision: RevisionId
    state: RunnerState
    slots: int
    busy: int
    served: int
    grant: Grant
    started_at: datetime
    ready_at: datetime | None
    idle_since: datetime | None
    phases: dict[str, float]


@dataclass(kw_only=True, eq=False)
class LiveRunner:
    """A runner and what we know of it. Changed by the scaling loop (its life) and the dispatcher (its slots).

    Attributes:
        slots: How many predictions it runs at once; 0 before it is ready.
        busy: Predictions that are in it.
        reserved: Slots that are spoken for while a claim is being written.
        idle_since: Since when it has had nothing to do; set while it has not.
        is_proof: It was started to prove a revision, which does not answer yet.
        has_proved: It was, and the revision answers now.
        why_ended: Why it was told to end, or what became of it.
    """

    id: RunnerId
    app: AppName
    revision: RevisionId
    grant: Grant
    started_at: datetime
    runner: Runner | None = None
    state: RunnerState = RunnerState.STARTING
    ready: Ready | None = None
    ready_at: datetime | None = None
    slots: int = 0
    busy: set[PredictionId] = field(default_factory=set)
    reserved: int = 0
    served: int = 0
    idle_since: datetime | None = None
    is_proof: bool = False
    has_proved: bool = False
    why_ended: str = ""

    @property
    def free_slots(self) -> int:
        """How many predictions it could take now."""
        return self.slots - len(self.busy) - self.reserved if self.state is RunnerState.READY else 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in it and nothing is on its way."""
        return not self.busy and not self.reserved

    def view(self) -> RunnerView:
        """What is shown of it."""
        return RunnerView(
            id=self.id,
            app=self.app,
            revision=self.revision,
            state=self.state,
            slots=self.slots,
            busy=len(self.busy),
            served=self.served,
            grant=self.grant,
            started_at=self.started_at,
            ready_at=self.ready_at,
            idle_since=self.idle_since,
            phases=dict(self.ready.phases) if self.ready is not None else {},
        )


class Runners:
    """Owns the table of runners."""

    def __init__(self) -> None:
        self._runners: dict[RunnerId, LiveRunner] = {}

    def __iter__(self) -> Iterator[LiveRunner]:
        return iter(list(self._runners.values()))

    def __len__(self) -> int:
        return len(self._runners)

    def add(self, runner: LiveRunner) -> None:
        """Take a runner into the table."""
        self._runners[runner.id] = runner

    def remove(self, runner: LiveRunner) -> None:
        """Take a runner that has ended out of it."""
        runner.state = RunnerState.ENDED
        self._runners.pop(runner.id, None)

    def find(self, runner_id: RunnerId) -> LiveRunner | None:
        """A runner by its id."""
        return self._runners.get(runner_id)

    def of(self, revision: RevisionId) -> list[LiveRunner]:
        """A revision's runners."""
        return [runner for runner in self._runners.values() if runner.revision == revision]

    def with_free_slot(self, revision: RevisionId) -> LiveRunner | None:
        """The runner that should take the next prediction: of those with a free slot the fullest, so that the others may end."""
        free = [runner for runner in self._runners.values() if runner.revision == revision and runner.free_slots > 0]
        return max(free, key=lambda runner: len(runner.busy) + runner.reserved, default=None)

    def views(self) -> list[RunnerView]:
        """All of them, oldest first."""
        return [runner.view() for runner in self._runners.values()]
