"""One thing found wrong, or worth a warning, in a project: where it is, what it is, what to write instead."""

from __future__ import annotations

from enum import Enum

import msgspec


class Severity(Enum):
    """Whether a finding stops the work, the worst first."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A problem with its place and its remedy.

    Attributes:
        severity: An error stops the work; a warning is told and the work goes on; a note is good to know.
        code: Stable name of the check, in ``kebab-case``.
        problem: What is wrong, naming the thing in quotes.
        remedy: What to write or run instead.
        file: Path of the file as the user would name it, if the finding is about a file.
        line: Line in that file, counted from 1.
    """

    severity: Severity
    code: str
    problem: str
    remedy: str
    file: str | None = None
    line: int | None = None

    @property
    def place(self) -> str:
        """``file:line`` as far as it is known, else the empty string."""
        if self.file is None:
            return ""
        return self.file if self.line is None else f"{self.file}:{self.line}"

    def __str__(self) -> str:
        prefix = f"{self.place}: " if self.place else ""
        return f"{prefix}{self.problem}; {self.remedy}" if self.remedy else f"{prefix}{self.problem}"
