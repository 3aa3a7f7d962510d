"""Changes to files as values: which bytes are replaced by what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, order=True)
class Edit:
    """One change to a file; what stands around it stays as it is, comments included.

    Attributes:
        path: The file.
        start: Offset of the first byte that is replaced.
        end: Offset of the first byte after it that is kept.
        text: What comes instead.
    """

    path: Path
    start: int
    end: int
    text: str


def edited(content: bytes, edits: Iterable[Edit]) -> bytes:
    """The content after the edits, each made once. One that overlaps an earlier one is left out."""
    kept: list[bytes] = []
    position = 0
    for edit in sorted(set(edits)):
        if edit.start >= position:
            kept += [content[position : edit.start], edit.text.encode()]
            position = edit.end
    return b"".join([*kept, content[position:]])
