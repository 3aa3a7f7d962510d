"""An environment that is there: an interpreter, and what processes started with it must see."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """An interpreter with the packages a project needs.

    Attributes:
        python: The interpreter that starts the worker.
        directory: The virtual environment; ``None`` for the host's own interpreter.
        variables: What must be set for processes in it.
        python_version: Its full version; ``None`` where nobody has asked it.
    """

    python: Path
    directory: Path | None
    variables: Mapping[str, str]
    python_version: str | None = None


class Progress(Protocol):
    """Tells what takes long."""

    def step(self, text: str) -> None:
        """A new step begins."""

    def detail(self, line: str) -> None:
        """A line of another program's output."""
