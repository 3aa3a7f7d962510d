"""Which of a project's own files a template depends on, and whether they are as they were.

A template that holds libraries alone depends on little: on the config, and on those files that may change environment variables,
since libraries read them when they are imported. One that holds the project, set up, depends on every source file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import msgspec

#: What sources are called, configs of all sorts among them.
_SUFFIXES = (".py", ".yaml", ".yml", ".toml", ".json", ".cfg", ".ini")

#: A file that mentions none of these changes no environment variables by itself.
_MARKS = (b"environ", b"putenv", b"setenv")

#: Where a project's own code is not.
_OTHERS = {"__pycache__", "node_modules", "site-packages"}

#: A larger one is data; its size and time tell enough.
_LARGEST_SOURCE = 1024 * 1024

#: A directory with more files than that is not looked through to its end.
_MOST_FILES = 20_000


class _Known(msgspec.Struct, frozen=True):
    changed_at: int
    size: int
    digest: str


class Sources:
    """The sources of one project; looks again only into files whose size or time has changed.

    Args:
        root: The project's directory.
        config: Its config file.
        whole: Whether every source counts, or only what may change environment variables.
    """

    def __init__(self, root: str, config: str, *, whole: bool) -> None:
        self._root = root
        self._config = config
        self._whole = whole
        self._known: dict[str, _Known] = {}

    def digest(self) -> str:
        """One value for what all of them say now."""
        known = {path: self._look(path, entry) for path, entry in self._files()}
        self._known = known
        total = hashlib.sha256()
        for path, each in sorted(known.items()):
            if each.digest:
                total.update(f"{os.path.relpath(path, self._root)}\0{each.digest}\n".encode("utf-8", "surrogateescape"))
        return total.hexdigest()

    def _look(self, path: str, status: os.stat_result) -> _Known:
        before = self._known.get(path)
        if before is not None and (before.changed_at, before.size) == (status.st_mtime_ns, status.st_size):
            return before
        return _Known(status.st_mtime_ns, status.st_size, self._digest_of(path, status))

    def _digest_of(self, path: str, status: os.stat_result) -> str:
        if status.st_size > _LARGEST_SOURCE:
            return f"{status.st_mtime_ns} {status.st_size}"
        try:
            with open(path, "rb") as file:  # noqa: PTH123 (every file of a project)
                content = file.read()
        except OSError:
            return "unreadable"
        if not self._whole and path != self._config and not any(mark in content for mark in _MARKS):
            return ""
        return hashlib.sha256(content).hexdigest()

    def _files(self) -> Iterator[tuple[str, os.stat_result]]:
        suffixes = _SUFFIXES if self._whole else (".py",)
        left = _MOST_FILES
        for directory, subdirectories, names in os.walk(self._root):
            if "pyvenv.cfg" in names:  # an environment that stands in the project
                subdirectories.clear()
                continue
            subdirectories[:] = sorted(name for name in subdirectories if name not in _OTHERS and not name.startswith("."))
            for name in names:
                path = os.path.join(directory, name)  # noqa: PTH118 (as above)
                if not name.endswith(suffixes) and path != self._config:
                    continue
                try:
                    yield path, os.stat(path)  # noqa: PTH116 (as above)
                except OSError:
                    continue
                left -= 1
            if left <= 0:
                return
