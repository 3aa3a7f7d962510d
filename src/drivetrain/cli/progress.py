"""Show what takes long: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from drivetrain.cli.terminal import Terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from drivetrain.environments.environment import Progress

#: A step that takes longer shows for how long it has taken, so that a large download does not look like a hang.
_UNTOLD_SECONDS = 3


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

    def __init__(self, console: Console) -> None:
        self._console = console
        self._step = ""
        self._detail = ""
        self._begun = time.monotonic()

    def step(self, text: str) -> None:
        """A new step begins."""
        self.end()
        self._step = text
        self._detail = ""
        self._begun = time.monotonic()

    def detail(self, line: str) -> None:
        """The latest line of another program, behind the step it belongs to."""
        self._detail = line.strip()

    def end(self) -> None:
        """The last step is over."""
        if self._step:
            self._console.print(f"  {self._step}", style="dim", markup=False, highlight=False)

    def __rich__(self) -> Text:
        from rich.text import Text

        seconds = int(time.monotonic() - self._begun)
        elapsed = f"  {seconds} s" if seconds >= _UNTOLD_SECONDS else ""
        return Text.assemble(self._step, elapsed, (f"  {self._detail}", "dim"), no_wrap=True, overflow="ellipsis")


@contextlib.contextmanager
def progress_on(terminal: Terminal) -> Iterator[Progress]:
    """A progress display for as long as the block lasts."""
    console_type = _console_type() if terminal.is_interactive else None
    if console_type is None:
        yield PlainProgress(terminal)
        return
    console = console_type(file=terminal.stream, no_color=not terminal.has_color)
    progress = LiveProgress(console)
    with console.status(progress):
        try:
            yield progress
        finally:
            progress.end()


def _console_type() -> type[Console] | None:
    """What draws on a terminal; images do without it."""
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console
