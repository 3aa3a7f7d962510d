"""Apps and their revisions: what is deployed, and how it may scale.

An app is a name with settings; its alias says which revision answers. A revision is immutable: an upload of a project, and what was
learnt by building it and starting it once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, NewType, Protocol

from drivetrain.model.errors import BadRequest
from drivetrain.model.signature import Signature

RevisionId = NewType("RevisionId", str)

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?", re.ASCII)


class BadName(BadRequest):
    """A name that an app cannot have."""

    code = "bad_name"

    def __init__(self, text: str) -> None:
        super().__init__(
            f"'{text}' cannot be the name of an app",
            hint="write owner/name, each of lower-case letters, digits, '.', '_' and '-', at most 64 of them",
        )


@dataclass(frozen=True, order=True)
class AppName:
    """``owner/name``."""

    owner: str
    name: str

    def __str__(self) -> str:
        return f"{self.owner}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> AppName:
        """Read ``owner/name``.

        Raises:
            BadName: The text is something else.
        """
        owner, slash, name = text.partition("/")
        if not slash or not can_own(owner) or not _NAME.fullmatch(name):
            raise BadName(text)
        return cls(owner, name)


def can_own(text: str) -> bool:
    """Whether a text can be the owner of apps."""
    return _NAME.fullmatch(text) is not None


class Scaler(str, Enum):
    """What makes the autoscaler want more runners."""

    #: As many as requests under way and waiting need (fal).
    CONCURRENCY = "concurrency"
    #: One more whenever a request has waited for ``scaler_value`` seconds (RunPod's QUEUE_DELAY).
    QUEUE_DELAY = "queue_delay"
    #: One for every ``scaler_value`` requests under way and waiting (RunPod's REQUEST_COUNT).
    REQUEST_COUNT = "request_count"


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How many runners an app may have, and when. Can be changed while the app runs.

    Attributes:
        min_runners: Kept even without requests.
        max_runners: Never exceeded; requests beyond wait.
        keep_alive: How long a runner above the minimum stays without a request.
        buffer: Runners' worth of requests kept free on top of the load.
        buffer_percent: The same as a share of the load; the larger of both counts.
        scaling_delay: How long a request must wait before it counts as a reason for another runner.
        concurrency: Predictions at once in a runner; ``None`` takes what the project says.
        startup_timeout: How long a runner may take to become ready.
        request_timeout: How long a prediction may run.
        start_timeout: How long a prediction may wait, over all its attempts, until it starts; ``None`` is for ever.
        scaler: What makes it want more.
        scaler_value: Seconds or requests, as ``scaler`` says; unused for ``CONCURRENCY``.
        queue_limit: How many predictions may wait before more are refused.
        max_attempts: How often a prediction may be begun before it fails for good.
    """

    min_runners: int = 0
    max_runners: int = 1
    keep_alive: timedelta = timedelta(seconds=60)
    buffer: int = 0
    buffer_percent: int = 0
    scaling_delay: timedelta = timedelta(0)
    concurrency: int | None = None
    startup_timeout: timedelta = timedelta(minutes=10)
    request_timeout: timedelta = timedelta(hours=1)
    start_timeout: timedelta | None = None
    scaler: Scaler = Scaler.CONCURRENCY
    scaler_value: float = 4
    queue_limit: int = 100_000
    max_attempts: int = 3


#: From and to, both allowed. No app needs more than the upper bounds, and the arithmetic that all apps share bears them.
_BOUNDS: Mapping[str, tuple[float, float]] = {
    "min_runners": (0, 10_000),
    "max_runners": (0, 10_000),
    "buffer": (0, 10_000),
    "buffer_percent": (0, 10_000),
    "concurrency": (1, 10_000),
    "scaler_value": (0.001, 1_000_000),
    "queue_limit": (0, 100_000_000),
    "max_attempts": (1, 1000),
}


def changed_scaling(scaling: Scaling, change: Mapping[str, Any]) -> Scaling:
    """Scaling with some settings changed.

    Args:
        change: By the names of ``Scaling``'s attributes.

    Raises:
        BadRequest: The result makes no sense.
    """
    unknown = sorted(set(change) - set(Scaling.__dataclass_fields__))
    if unknown:
        raise BadRequest(f"'{unknown[0]}' is no scaling setting", hint=f"there are {', '.join(Scaling.__dataclass_fields__)}")
    changed = replace(scaling, **change)
    for name, (least, most) in _BOUNDS.items():
        value = getattr(changed, name)
        if value is not None and not least <= value <= most:  # which no NaN is
            raise BadRequest(f"'{name}' must be from {least} to {most}")
    if changed.min_runners > changed.max_runners:
        raise BadRequest(f"the minimum of runners, {changed.min_runners}, is above the maximum, {changed.max_runners}")
    return changed


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one runner holds of a machine while it lives.

    Attributes:
        gpus: Held exclusively.
        memory: Bytes, counted against the machine's; ``None`` where the project does not say.
        cpus: Cores, counted against the machine's; fractions are shares.
    """

    gpus: int = 0
    memory: int | None = None
    cpus: float = 0


class Access(str, Enum):
    """Who may call an app."""

    PRIVATE = "private"  #: its owner's keys
    SHARED = "shared"  #: every valid key
    PUBLIC = "public"  #: anybody


@dataclass(frozen=True, kw_only=True)
class Share:
    """A revision's part of an app's requests, in percent."""

    revision: RevisionId
    percent: int


@dataclass(frozen=True, kw_only=True)
class App:
    """A deployed model by its name. A change gives a new value; the store keeps the newest.

    Attributes:
        alias: Which revisions answer; their percents add up to 100; empty before the first deploy has succeeded.
        releases: How often the alias has been switched; numbers the releases.
        description: Shown in listings.
        labels: Whatever a gateway wants to keep with the app, such as a model's visibility.
    """

    name: AppName
    created_at: datetime
    scaling: Scaling = field(default_factory=Scaling)
    resources: Resources = field(default_factory=Resources)
    access: Access = Access.PRIVATE
    alias: tuple[Share, ...] = ()
    releases: int = 0
    description: str = ""
    labels: Mapping[str, Any] = field(default_factory=dict)


class RevisionState(str, Enum):
    """How far a revision has come."""

    BUILDING = "building"  #: its environment is being made
    PROVING = "proving"  #: its first runner is being set up
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Revision:
    """An immutable version of an app.

    Attributes:
        id: SHA-256 over the app's name and the content of the upload, 64 hexadecimal digits.
        number: Counts an app's revisions from 1.
        dialect: The contract that the project is written to.
        source: Digest of the uploaded project, by which its files are found.
        schema: The model's OpenAPI document, once it is known.
        signature: What a prediction takes and gives; ``None`` before it is known, and where only the document is.
        train_signature: The same of a training, if the project has one.
        concurrency: Predictions at once in a runner of it, as its code says.
        failure: Why it failed.
        logs: The end of what building and proving it wrote.
        variables: Environment variables of its runners; files of ours in them are references, and belong to the revision.
        copy_of: The revision of another app that it runs the code of.
    """

    id: RevisionId
    app: AppName
    number: int
    created_at: datetime
    source: str
    dialect: str = "cog"
    state: RevisionState = RevisionState.BUILDING
    schema: Mapping[str, Any] | None = None
    signature: Signature | None = None
    train_signature: Signature | None = None
    concurrency: int = 1
    failure: str | None = None
    logs: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    copy_of: RevisionId | None = None
    labels: Mapping[str, Any] = field(default_factory=dict)


class AppStore(Protocol):
    """Keeps apps and revisions. Every method is one transaction; what it returns was committed."""

    async def put_app(self, app: App) -> None:
        """Add an app, or replace the value kept under its name."""

    async def get_app(self, name: AppName) -> App | None:
        """An app by its name."""

    async def apps(self) -> list[App]:
        """All of them, by name."""

    async def remove_app(self, name: AppName) -> bool:
        """Forget an app, its revisions, secrets and predictions. Whether there was one."""

    async def put_revision(self, revision: Revision) -> None:
        """Add a revision, or replace the value kept under its id."""

    async def next_revision_number(self, app: AppName) -> int:
        """One more than the highest number among the app's revisions."""

    async def get_revision(self, revision_id: RevisionId) -> Revision | None:
        """A revision by its id."""

    async def revisions(self, app: AppName) -> list[Revision]:
        """An app's revisions, newest first."""

    async def remove_revision(self, revision_id: RevisionId) -> bool:
        """Forget a revision, unless a prediction of it waits or runs. Whether it was forgotten."""
