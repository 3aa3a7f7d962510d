"""Reading a text file that a person wrote, with a clear word when that is not what it is.

All that reading a config looks at is looked at here, so that it can be told what a reading depends on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

import msgspec

from drivetrain.dialects.cog.findings import Findings


class Sights(msgspec.Struct):
    """What was looked at: contents of files, and whether something was at a path."""

    contents: list[tuple[str, bytes]] = []
    places: list[tuple[str, bool]] = []


_sights: ContextVar[Sights | None] = ContextVar("sights", default=None)


@contextlib.contextmanager
def watched() -> Iterator[Sights]:
    """Collects what is looked at in the block."""
    sights = Sights()
    token = _sights.set(sights)
    try:
        yield sights
    finally:
        _sights.reset(token)


def read_text(path: Path, findings: Findings, *, largest: int) -> str | None:
    """A file's text, without byte order mark.

    Args:
        path: The file.
        findings: Those about this file; takes the reason when there is no text.
        largest: Size in bytes above which it cannot be the file that is meant.

    Returns:
        The text, or ``None`` with an error in ``findings``.
    """
    try:
        content = _content(path, largest)
    except IsADirectoryError:
        findings.error("not-a-file", f"'{findings.file}' is a directory", "name the file in it")
    except OSError as error:
        findings.error("unreadable", f"'{findings.file}' cannot be read: {error.strerror}", "check the file and its permissions")
    else:
        if len(content) <= largest:
            return decode(content, findings)
        findings.error("file-too-large", f"'{findings.file}' is larger than {largest // 1024} KiB", "name the right file")
    return None


def decode(content: bytes, findings: Findings) -> str | None:
    """The text of a file's content, without byte order mark; ``None``, with an error in ``findings``, if it is no text."""
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        findings.error("not-utf8", f"'{findings.file}' is not UTF-8 text in this line", "save the file as UTF-8", line)
        return None


def exists(path: Path) -> bool:
    """Whether something is there; names no file system takes are nowhere."""
    try:
        is_there = path.exists()
    except (OSError, ValueError):
        is_there = False
    if (sights := _sights.get()) is not None:
        sights.places.append((str(path), is_there))
    return is_there


def _content(path: Path, largest: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(largest + 1)
    if (sights := _sights.get()) is not None:
        sights.contents.append((str(path), content))
    return content
