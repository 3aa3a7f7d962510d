"""Named SQL: files of statements, each below a line ``-- name: ...``."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

_HEADING = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@functools.cache
def named(file: Path) -> Mapping[str, str]:
    """The statements of a file by their names."""
    _, *parts = _HEADING.split(file.read_text(encoding="utf-8"))
    statements = dict(zip(parts[::2], map(str.strip, parts[1::2]), strict=True))
    assert len(statements) * 2 == len(parts), f"a name occurs twice in {file}"
    return MappingProxyType(statements)


def queue_statements() -> Mapping[str, str]:
    """Those of the queue."""
    return named(_DIRECTORY / "queue.sql")


def app_statements() -> Mapping[str, str]:
    """Those of apps and revisions."""
    return named(_DIRECTORY / "apps.sql")


def key_statements() -> Mapping[str, str]:
    """Those of API keys and audit lines."""
    return named(_DIRECTORY / "keys.sql")


def secret_statements() -> Mapping[str, str]:
    """Those of secrets and the platform's own values."""
    return named(_DIRECTORY / "secrets.sql")


def delivery_statements() -> Mapping[str, str]:
    """Those of webhook deliveries."""
    return named(_DIRECTORY / "deliveries.sql")


def file_statements() -> Mapping[str, str]:
    """Those of records of files."""
    return named(_DIRECTORY / "files.sql")


_DIRECTORY = Path(__file__).with_name("sql")
