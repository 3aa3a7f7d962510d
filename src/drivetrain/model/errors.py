"""What can go wrong, as one tree.

    DrivetrainError
    ├── BadRequest            what was asked cannot be done as asked; the asker can mend it
    │   ├── Misuse            the command line was used wrongly (exit status 2)
    │   ├── ProjectError      the project on disk is not as it must be
    │   └── InvalidInputs     the inputs do not fit the signature
    ├── OutsideFailed         the network, the disk, another program; trying again may help
    └── InternalError         our own bug

An error stores facts and a stable ``code``, makes its own sentence, and may carry a hint. Which HTTP status or exit status it
becomes is decided at the edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from drivetrain.model.finding import Finding


class DrivetrainError(Exception):
    """Root of everything drivetrain raises on purpose.

    Args:
        message: One sentence: what happened, to which thing (quoted).
        hint: What to do about it, if that is not plain from the message.
        detail: Longer text shown below the message, such as the end of another program's output.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str | None = None, detail: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail


class BadRequest(DrivetrainError):  # noqa: N818 (named for what it says to the asker)
    """What was asked cannot be done as asked."""

    code = "bad_request"


class Misuse(BadRequest):
    """The command line was used wrongly."""

    code = "misuse"


class ProjectError(BadRequest):
    """The project on disk is not as it must be.

    Args:
        message: One sentence that sums the findings up.
        findings: Every problem found, each with its remedy.
    """

    code = "project_invalid"

    def __init__(
        self,
        message: str,
        *,
        findings: Sequence[Finding] = (),
        hint: str | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, detail=detail)
        self.findings = tuple(findings)


class OutsideFailed(DrivetrainError):  # noqa: N818 (a family, named for where the fault lies)
    """The network, the disk or another program failed; trying again may help."""

    code = "outside_failed"


class InternalError(DrivetrainError):
    """Our own bug; worth a report."""

    code = "internal_error"
