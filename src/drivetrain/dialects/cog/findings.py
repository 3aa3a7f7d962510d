"""Gathers what is found wrong in one file, so that all of it can be told at once."""

from __future__ import annotations

from drivetrain.model.finding import Finding, Severity


class Findings:
    """Findings about one file, in the order they were made. Owned by the call that reads the file.

    Args:
        file: The file as the user would name it.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: list[Finding] = []

    def error(self, code: str, problem: str, remedy: str, line: int | None = None) -> None:
        """Note something that stops the work."""
        self._add(Severity.ERROR, code, problem, remedy, line)

    def warn(self, code: str, problem: str, remedy: str, line: int | None = None) -> None:
        """Note something that should be told, though the work goes on."""
        self._add(Severity.WARNING, code, problem, remedy, line)

    def include(self, others: Findings) -> None:
        """Take over what was found in a file that this one refers to."""
        self._found.extend(others._found)

    def in_order(self) -> tuple[Finding, ...]:
        """Errors before warnings; this file's own by line, those of other files after them as they were met."""
        return tuple(sorted(self._found, key=self._place))

    @property
    def has_error(self) -> bool:
        """Whether the file cannot be used."""
        return any(finding.severity is Severity.ERROR for finding in self._found)

    def _add(self, severity: Severity, code: str, problem: str, remedy: str, line: int | None) -> None:
        self._found.append(Finding(severity=severity, code=code, problem=problem, remedy=remedy, file=self.file, line=line))

    def _place(self, finding: Finding) -> tuple[bool, bool, int]:
        elsewhere = finding.file != self.file
        return finding.severity is Severity.WARNING, elsewhere, 0 if elsewhere else finding.line or 0
