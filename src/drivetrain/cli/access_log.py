"""One line for each request that a platform has answered, and its parts' own messages in the same voice."""

from __future__ import annotations

import dataclasses
import logging

from drivetrain.cli.json_lines import JsonLines
from drivetrain.cli.terminal import Terminal
from drivetrain.gateways.http.shell import AccessLine

#: How long lines for programs wait for others.
_HELD_SECONDS = 0.1


class AccessLog:
    """Writes the lines, in the event loop.

    Args:
        terminal: Where to.
        as_json: As JSON, for programs, or for people.
    """

    def __init__(self, terminal: Terminal, *, as_json: bool) -> None:
        self._terminal = terminal
        self._lines = JsonLines(terminal, held_for=_HELD_SECONDS) if as_json else None

    def tell(self, line: AccessLine) -> None:
        """Write the line of a request, soon."""
        if self._lines is not None:
            self._lines.add({"event": "request_answered", **dataclasses.asdict(line)})
            return
        who = f" by {line.caller}" if line.caller else ""
        self._terminal.quiet(f"{line.method} {line.path} {line.status} in {line.seconds:.3f} s{who}")

    def flush(self) -> None:
        """Write what has not been written."""
        if self._lines is not None:
            self._lines.flush()


class TerminalHandler(logging.Handler):
    """Gives what the platform's parts log to the terminal.

    Args:
        terminal: Where to.
    """

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(logging.WARNING)
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        """Implements ``logging.Handler``."""
        if record.exc_info:
            self._terminal.quiet(logging.Formatter().formatException(record.exc_info))
        if record.levelno >= logging.ERROR:
            self._terminal.error(record.getMessage())
        else:
            self._terminal.warn(record.getMessage())
