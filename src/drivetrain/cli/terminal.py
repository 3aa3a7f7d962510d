"""One voice for everything that is not a result: to stderr, with colour where it is a terminal."""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping
from typing import TextIO

import msgspec

from drivetrain.model.errors import DrivetrainError, ProjectError
from drivetrain.model.finding import Finding, Severity

_RED, _GREEN, _YELLOW, _CYAN, _DIM, _BOLD = "31", "32", "33", "36", "2", "1"

_VERDICTS = {"ok": _GREEN, "note": _CYAN, "warning": _YELLOW, "error": _RED, "skipped": _DIM}


class Terminal(msgspec.Struct, frozen=True):
    """Where messages go.

    Attributes:
        stream: Usually stderr.
        has_color: Whether to colour.
        is_interactive: Whether a person watches, so that progress may be redrawn.
        debug: Whether to show our own tracebacks.
    """

    stream: TextIO
    has_color: bool
    is_interactive: bool
    debug: bool = False

    @classmethod
    def of_process(cls, environ: Mapping[str, str], *, color: bool | None, debug: bool) -> Terminal:
        """The terminal that this process writes to.

        Args:
            environ: Read for ``NO_COLOR``, ``COG_NO_COLOR`` and ``TERM``.
            color: Forces colours on or off.
        """
        interactive = sys.stderr.isatty() and environ.get("TERM") != "dumb"
        if color is None:
            color = interactive and not environ.get("NO_COLOR") and not environ.get("COG_NO_COLOR")
        return cls(sys.stderr, has_color=color, is_interactive=interactive, debug=debug)

    def error(self, message: str, *, hint: str | None = None) -> None:
        """Say what failed, and what to do about it on a line of its own."""
        self._write(self._paint("error", _RED, _BOLD) + f": {message}")
        if hint:
            self._write(self._paint(" hint", _CYAN) + f": {hint}")

    def warn(self, message: str) -> None:
        """Say what may surprise."""
        self._write(self._paint("warning", _YELLOW, _BOLD) + f": {message}")

    def note(self, message: str) -> None:
        """Say what happened."""
        self._write(message)

    def quiet(self, message: str) -> None:
        """Say something of little weight."""
        self._write(self._paint(message, _DIM))

    def verdict(self, word: str, message: str) -> None:
        """Say in a word how a check went (``ok``, ``note``, ``warning``, ``error``, ``skipped``) and, in a column, what it was."""
        self._write(self._paint(word, _VERDICTS[word]) + " " * (9 - len(word)) + message)

    def text(self, data: str) -> None:
        """Pass on a model's own output as it is."""
        try:  # not ``suppress``: a server says a line of each prediction
            self.stream.write(data)
            self.stream.flush()
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):  # a reader that is gone, a terminal that was closed
                raise
            return  # nobody listens any more; the work goes on

    def show(self, error: DrivetrainError) -> None:
        """An error in full: its detail, its findings, its sentence, its hint."""
        if error.detail:
            self.quiet(error.detail.rstrip())
        findings = error.findings if isinstance(error, ProjectError) else ()
        for finding in findings:
            self.finding(finding)
        if [finding.severity for finding in findings].count(Severity.ERROR) != 1:  # a lone one has said it all
            self.error(error.message, hint=error.hint)

    def finding(self, finding: Finding) -> None:
        """One problem of a project with its remedy."""
        place = f"{finding.place}: " if finding.place else ""
        say = self.error if finding.severity is Severity.ERROR else None
        if say is not None:
            say(f"{place}{finding.problem}", hint=finding.remedy or None)
            return
        self.warn(f"{place}{finding.problem}" + (f"; {finding.remedy}" if finding.remedy else ""))

    def _paint(self, text: str, *codes: str) -> str:
        return f"\033[{';'.join(codes)}m{text}\033[0m" if self.has_color else text

    def _write(self, line: str) -> None:
        self.text(line + "\n")
