"""What somebody who deploys is told, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from drivetrain.platform.app import Access, App, AppName, Resources, Revision


class Strategy(str, Enum):
    """How the new revision takes over."""

    ROLLING = "rolling"  #: once a runner of it is ready; the old ones end after their predictions
    RECREATE = "recreate"  #: the old runners end first: for models of which two do not fit on the machine


@dataclass(frozen=True, kw_only=True)
class DeployOrder:
    """What to deploy, and how.

    Attributes:
        app: Made if it is not there.
        strategy: How the new revision takes over.
        strict: Refuse a revision that breaks the clients of the one before.
        scaling: Settings to change, by the names of ``Scaling``'s attributes.
        labels: Kept with the revision, such as a message.
    """

    app: AppName
    strategy: Strategy = Strategy.ROLLING
    strict: bool = False
    scaling: Mapping[str, Any] = field(default_factory=dict)
    resources: Resources | None = None
    access: Access | None = None
    labels: Mapping[str, Any] = field(default_factory=dict)


class Step(str, Enum):
    """The steps of a deployment, in order."""

    RECEIVING = "receiving"
    READING = "reading"
    BUILDING = "building"
    PROVING = "proving"
    SWITCHING = "switching"


@dataclass(frozen=True, kw_only=True)
class StepBegun:
    """A step has begun."""

    step: Step


@dataclass(frozen=True, kw_only=True)
class Said:
    """A build tool or the model's set-up wrote something; ``text`` as it came."""

    step: Step
    text: str


@dataclass(frozen=True, kw_only=True)
class Noticed:
    """Something that the deployer should know and that does not stop the deployment.

    Attributes:
        severity: ``warning`` or ``note``.
        remedy: What to do about it, if anything.
    """

    severity: str
    message: str
    remedy: str | None = None


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """It is done: the revision answers.

    Attributes:
        is_new: Whether the revision was made ready now; an upload that was ready already is only switched to.
        seconds: How long the steps took, by their names.
    """

    app: App
    revision: Revision
    is_new: bool
    seconds: Mapping[str, float] = field(default_factory=dict)


DeployEvent: TypeAlias = StepBegun | Said | Noticed | Deployed
