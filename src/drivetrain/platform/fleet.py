"""The port for where runners run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, NewType, Protocol

from drivetrain.model.errors import OutsideFailed
from drivetrain.model.prediction import Event, PredictionId
from drivetrain.model.project import Mode
from drivetrain.model.signature import Signature
from drivetrain.platform.app import AppName, RevisionId

RunnerId = NewType("RunnerId", str)


class BuildFailed(OutsideFailed):
    """A revision's environment could not be made."""

    code = "build_failed"


class SetupFailed(OutsideFailed):
    """A runner did not become ready: the model could not be loaded or set up, or it took too long, or the process ended."""

    code = "setup_failed"


class RunnerLost(OutsideFailed):
    """A runner ended, or broke the connection, while it ran a prediction."""

    code = "runner_lost"


class Answer(Enum):
    """What a runner that is alive said instead of running a prediction, in the terms of HTTP's status codes (`fal.md` §6)."""

    BUSY = "busy"  #: it has no free slot after all; the attempt does not count
    SERVER_ERROR = "server_error"  #: 500, 502
    UNAVAILABLE = "unavailable"  #: 503: the runner is not well and is ended
    TIMEOUT = "timeout"  #: 504


class RunnerRefused(OutsideFailed):
    """A runner did not run a prediction that it was given."""

    code = "runner_refused"

    def __init__(self, answer: Answer, message: str) -> None:
        super().__init__(message)
        self.answer = answer


@dataclass(frozen=True, kw_only=True)
class Grant:
    """The part of a machine that a runner holds.

    Attributes:
        gpus: As ``CUDA_VISIBLE_DEVICES`` names them.
    """

    gpus: tuple[str, ...] = ()
    memory: int | None = None
    cpus: float = 0


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What a fleet has in all."""

    gpus: tuple[str, ...]
    memory: int
    cpus: float


@dataclass(frozen=True, kw_only=True)
class BuildOrder:
    """What a revision needs before runners can start.

    Attributes:
        source: Directory of the unpacked project; read only.
    """

    app: AppName
    revision: RevisionId
    source: Path


@dataclass(frozen=True, kw_only=True)
class RunnerOrder:
    """A runner to start.

    Attributes:
        source: Directory of the unpacked project; the runner works in a copy of it, and it stays as it is.
        data: A directory that all runners of the app share and that stays.
        variables: Environment variables for the model: secrets and what the platform adds. Never logged.
        files_url: Below this URL are the platform's own files: inputs are read there whatever its address, output files are PUT to
            ``{files_url}/uploads/<prediction id>/<name>`` and are then at the ``Location`` of the answer.
        concurrency: Predictions at once; ``None`` takes what the project says.
        startup_timeout: From the start until it is ready.
        cancel_grace: How long a prediction may take to obey its cancelation.
    """

    id: RunnerId
    app: AppName
    revision: RevisionId
    source: Path
    data: Path
    grant: Grant
    variables: Mapping[str, str]
    files_url: str
    concurrency: int | None
    startup_timeout: timedelta
    cancel_grace: timedelta = timedelta(seconds=10)
    mode: Mode = Mode.PREDICT


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What a runner that is ready says of its model.

    Attributes:
        schema: The OpenAPI document.
        concurrency: Its slots.
        signature: What a prediction takes and gives; ``None`` where only the document is known.
        train_signature: The same of a training, if the project has one.
        phases: Seconds that each part of the start took (``process``, ``import``, ``setup``), for explaining cold starts.
    """

    schema: Mapping[str, Any]
    concurrency: int
    signature: Signature | None = None
    train_signature: Signature | None = None
    phases: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A prediction for a runner. File references in the input have been replaced by URLs below ``files_url``."""

    id: PredictionId
    input: Mapping[str, Any]
    context: Mapping[str, str] = field(default_factory=dict)
    mode: Mode = Mode.PREDICT
    trace: str | None = None


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a runner ended.

    Attributes:
        was_asked: Whether ``stop`` or ``kill`` was called.
        description: Such as "was killed by signal 9".
    """

    was_asked: bool
    description: str


class Runner(Protocol):
    """One running model server."""

    @property
    def id(self) -> RunnerId:
        """Its id."""

    @property
    def ended(self) -> asyncio.Future[Ending]:
        """Done when nothing of it is left. Never fails, is never canceled."""

    async def ready(self) -> Ready:
        """Wait until it can run predictions. May be awaited by many.

        Raises:
            SetupFailed: It never will; it is ending or has ended.
        """

    def run(self, job: Job) -> AsyncIterator[Event]:
        """Run a prediction: its events in order, the last one ``Completed``. Output files are URLs as ``files_url`` says.

        Closing the iterator early cancels the prediction.

        Raises:
            RunnerRefused: It did not begin.
            RunnerLost: It may have begun, and its end will not be known.
        """

    async def cancel(self, prediction_id: PredictionId) -> None:
        """Cancel a prediction; its events end with ``Completed`` as ever. Does nothing for one that is not under way."""

    async def stop(self, grace: timedelta) -> None:
        """Take no more predictions, let those under way end within the grace, end. Returns when it has ended.

        May be called twice.
        """

    async def kill(self) -> None:
        """End it at once, with every process it started. Returns when it has ended. May be called twice."""


class RunnerLog(Protocol):
    """Where what a runner writes outside of predictions goes."""

    def __call__(self, text: str) -> None:
        """Take some text as it was written; in the event loop."""


class Fleet(Protocol):
    """Starts runners, on one machine or many."""

    @property
    def capacity(self) -> Capacity:
        """What it has in all; runners are granted parts of it by the platform."""

    async def build(self, order: BuildOrder, log: Callable[[str], None]) -> None:
        """Make what runners of a revision need, such as its environment; quick if it is there.

        Raises:
            ProjectError: The project is not as it must be.
            BuildFailed: It could not be made.
        """

    async def start(self, order: RunnerOrder, log: RunnerLog) -> Runner:
        """Start a runner; returns before it is ready.

        Raises:
            OutsideFailed: It cannot even be started.
        """

    async def aclose(self) -> None:
        """End every runner at once and give up what the fleet holds. May be called twice."""
