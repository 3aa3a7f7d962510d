"""Columns of text for people; programs take ``--json``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any


def write_table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows below their headings to stdout; numbers to the right."""
    texts = [[_text(cell) for cell in row] for row in rows]
    widths = [max(len(line[column]) for line in [list(headings), *texts]) for column in range(len(headings))]
    is_number = [bool(rows) and all(isinstance(row[column], int | float) for row in rows) for column in range(len(headings))]
    for line in [list(headings), *texts]:
        cells = [
            cell.rjust(width) if right else cell.ljust(width) for cell, width, right in zip(line, widths, is_number, strict=True)
        ]
        write_line("  ".join(cells).rstrip())


def write_line(text: str) -> None:
    """Print a line to stdout."""
    sys.stdout.write(text + "\n")


def age(moment: str | None) -> str:
    """How long ago a time of the platform was."""
    if moment is None:
        return "-"
    seconds = int((datetime.now(timezone.utc) - read_time(moment)).total_seconds())
    for size, letter in ((86400, "d"), (3600, "h"), (60, "m")):
        if abs(seconds) >= size:
            return f"{seconds // size}{letter}"
    return f"{seconds}s"


def read_time(text: str) -> datetime:
    """A time as the platform writes it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _text(cell: Any) -> str:
    if cell is None or cell == "":
        return "-"
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)
