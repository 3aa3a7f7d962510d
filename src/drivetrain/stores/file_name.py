"""Names of files, as senders give them and as they are safe to show and to save under."""

from __future__ import annotations

import unicodedata

_LONGEST_BYTES = 200
_LONGEST_SUFFIX_BYTES = 20


def safe_name(name: str) -> str:
    """A base name without anything that a terminal, a header, a URL or a directory could take amiss."""
    base = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    shown = "".join(_safe(character) for character in base).strip(" .")
    stem, dot, suffix = shown.rpartition(".")
    if not dot or len(suffix.encode()) > _LONGEST_SUFFIX_BYTES:
        return _cut(shown, _LONGEST_BYTES) or "file"
    return f"{_cut(stem, _LONGEST_BYTES - len(suffix.encode()) - 1)}.{suffix}"


def _safe(character: str) -> str:
    if unicodedata.category(character).startswith("Z"):
        return " "
    return character if character.isprintable() else ""


def _cut(text: str, limit: int) -> str:
    return text.encode()[:limit].decode(errors="ignore").rstrip(" .")
