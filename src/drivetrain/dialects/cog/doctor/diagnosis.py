"""What a check is, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from drivetrain.dialects.cog.doctor.edit import Edit
from drivetrain.model.finding import Finding, Severity

Subject = TypeVar("Subject")


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """One thing that a check has found.

    Attributes:
        severity: An error keeps the project from running here; a warning may surprise, here or in Cog; a note is good to know.
        problem: What is the matter, naming the thing in quotes.
        remedy: What to do about it.
        file: As the user would name it, if it is about a file.
        line: Line in that file.
        edits: What mends it, where that is safe: the project does the same afterwards.
        code: Stable name of what was found, where that is finer than the name of the check.
    """

    severity: Severity
    problem: str
    remedy: str
    file: str | None = None
    line: int | None = None
    edits: tuple[Edit, ...] = ()
    code: str | None = None

    @classmethod
    def of(cls, finding: Finding, *edits: Edit) -> Diagnosis:
        """What was found by somebody else."""
        return cls(
            severity=finding.severity,
            problem=finding.problem,
            remedy=finding.remedy,
            file=finding.file,
            line=finding.line,
            code=finding.code,
            edits=edits,
        )


@dataclass(frozen=True, kw_only=True)
class Check(Generic[Subject]):
    """One question that is asked of every project.

    Attributes:
        name: Stable, in ``kebab-case``.
        about: What is right when nothing is found.
        examine: Finds what is not. Pure.
    """

    name: str
    about: str
    examine: Callable[[Subject], Iterable[Diagnosis]]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one check came to.

    Attributes:
        name: The check's.
        about: The check's.
        diagnoses: What it found.
        was_made: Whether it could be made at all.
    """

    name: str
    about: str
    diagnoses: tuple[Diagnosis, ...] = ()
    was_made: bool = True

    @property
    def severity(self) -> Severity | None:
        """The worst that was found."""
        found = {diagnosis.severity for diagnosis in self.diagnoses}
        return next((severity for severity in Severity if severity in found), None)
