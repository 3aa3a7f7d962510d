"""Show what takes long: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from drivetrain.cli.terminal import Terminal

if TYPE_CHECKING:
    from rich.status import Status

    from drivetrain.environments.environment import Progress


class PlainProgress:
    """A line for each step; another program's details are left out."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def step(self, text: str) -> None:
        """A new step begins."""
        self._terminal.note(text)

    def detail(self, line: str) -> None:
        """Nobody watches."""


class LiveProgress:
    """One line that changes; steps that are done stay above it."""

    def __init__(self, terminal: Terminal, status: Status) -> None:
        self._terminal = terminal
        self._status = status
        self._step = ""

    def step(self, text: str) -> None:
        """A new step begins."""
        if self._step:
            self._status.console.print(f"  {self._step}", style="dim", markup=False, highlight=False)
        self._step = text
        self._show(text)

    def detail(self, line: str) -> None:
        """The latest line of another program, behind the step it belongs to."""
        width = max(20, self._status.console.width - len(self._step) - 8)
        self._show(f"{self._step}  [dim]{_escape(line.strip()[:width])}[/dim]")

    def _show(self, text: str) -> None:
        self._status.update(text)


def _escape(line: str) -> str:
    from rich.markup import escape

    return escape(line)


@contextlib.contextmanager
def progress_on(terminal: Terminal) -> Iterator[Progress]:
    """A progress display for as long as the block lasts."""
    if not terminal.is_interactive:
        yield PlainProgress(terminal)
        return
    from rich.console import Console

    console = Console(file=terminal.stream, no_color=not terminal.has_color)
    with console.status("Preparing the environment") as status:
        yield LiveProgress(terminal, status)
