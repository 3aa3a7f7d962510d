"""Lines of a log for programs: what comes in a short while is written together, since whoever reads them may be slow."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from drivetrain.cli.terminal import Terminal


class JsonLines:
    """Writes objects, a line each. Lives in the event loop.

    Args:
        terminal: Where to.
        held_for: Seconds that a line may wait for others; 0 is the end of the loop's turn.
    """

    def __init__(self, terminal: Terminal, *, held_for: float = 0) -> None:
        self._terminal = terminal
        self._held_for = held_for
        self._encode = msgspec.json.Encoder().encode
        self._lines: list[bytes] = []

    def add(self, fields: dict[str, Any]) -> None:
        """Write a line, soon."""
        if not self._lines:
            loop = asyncio.get_running_loop()
            if self._held_for:
                loop.call_later(self._held_for, self.flush)
            else:
                loop.call_soon(self.flush)
        self._lines.append(self._encode(fields))

    def flush(self) -> None:
        """Write what has not been written."""
        lines, self._lines = self._lines, []
        if lines:
            self._terminal.note(b"\n".join(lines).decode())
