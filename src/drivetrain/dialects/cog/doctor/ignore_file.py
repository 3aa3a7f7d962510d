"""Which files a ``.dockerignore`` keeps out of an image."""

from __future__ import annotations

import re
from collections.abc import Iterable
from posixpath import normpath


class IgnoreFile:
    """The patterns of a ``.dockerignore``, by the rules of Docker: from the root, the last that matches decides.

    Args:
        lines: Of the file.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        self._rules = [(_compiled(pattern.removeprefix("!")), not pattern.startswith("!")) for pattern in patterns]

    def ignores(self, name: str) -> bool:
        """Whether a file is kept out, itself or with a directory that it is in.

        Args:
            name: Path from the project's root, with slashes.
        """
        decisions = [ignored for pattern, ignored in self._rules if pattern.match(name)]
        return bool(decisions) and decisions[-1]


def _compiled(pattern: str) -> re.Pattern[str]:
    """Matches what the pattern names and everything below it."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]*\])", normpath(pattern.strip()).lstrip("/"))
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    expression = "".join(wild.get(part) or (part if part.startswith("[") else re.escape(part)) for part in parts)
    try:
        return re.compile(f"{expression}(?:/|$)")
    except re.error:  # an odd range in brackets: it names nothing
        return re.compile(r"(?!)")
