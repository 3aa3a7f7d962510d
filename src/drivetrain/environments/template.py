"""What is known of a project's imports, kept from one start to the next, so that a template can do them ahead."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import asdict, replace

from drivetrain.environments.environment import Environment
from drivetrain.model.project import Mode, Project

#: To be raised when records of before must not be used any more.
_FORMAT = 1

#: Records that nobody has read for so long are removed.
_KEPT_SECONDS = 60 * 24 * 3600

Journal = Sequence[Sequence[str | None]]


class ImportRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a project imported until it was ready.

    Attributes:
        digest: Of everything it depended on (``TemplateNotes.digest``).
        journal: Imports and changes of environment variables, in the order they happened.
        changes: What loading the project's code changed in the environment variables.
        paths: The directories that libraries were found in.
        refusal: Why there is no template for it, if that is known.
    """

    digest: str
    journal: Journal = ()
    changes: dict[str, str | None]
    paths: tuple[str, ...] = ()
    refusal: str | None = None

    def extended(self, journal: Journal) -> ImportRecord | None:
        """With modules that were imported after all; ``None`` if there are none that it does not have."""
        known = {entry[1] for entry in self.journal if entry[0] == "import"}
        new = [entry for entry in journal if entry[0] == "import" and entry[1] not in known]
        return replace(self, journal=[*self.journal, *new]) if new else None


class TemplateNotes:
    """The file in which a project's record is kept.

    Args:
        directory: Where such files are.
        project: The project.
        mode: Which of its entry points.
        environment: What it runs in.
        purpose: What the record is for.
        name: What the project is known by, if not by its directory: one that has a copy for each server, say.
    """

    def __init__(
        self,
        directory: Path,
        project: Project,
        mode: Mode,
        environment: Environment,
        *,
        purpose: str = "imports",
        name: str | None = None,
    ) -> None:
        self._environment = environment
        self._libraries = _libraries_of(environment)
        self._read: tuple[int, int] | None = None
        key = [_FORMAT, purpose, name or str(project.root), str(project.entry_point(mode)), mode.value, str(environment.python)]
        self._file = directory / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}.json"

    def read(self) -> ImportRecord | None:
        """The record, if there is one that can be read."""
        try:
            fields = json.loads(self._file.read_bytes())
            record = ImportRecord(**{**fields, "paths": tuple(fields["paths"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None
        self._read = self._identity()
        with contextlib.suppress(OSError):
            os.utime(self._file, ns=(time.time_ns(), self._file.stat().st_mtime_ns))  # still of use
        return record

    def is_unchanged(self) -> bool:
        """Whether the record that is kept is the one last read or written here."""
        return self._identity() == self._read

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns

    def write(self, record: ImportRecord) -> None:
        """Keep a record; one that cannot be kept is made again at the next start."""
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            # Readable for its owner alone: variables that a project sets may be secrets.
            handle, name = tempfile.mkstemp(dir=self._file.parent)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(asdict(record), file)
                Path(name).replace(self._file)
                self._read = self._identity()
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            _sweep(self._file.parent)

    def digest(self, sources: str, paths: Iterable[str]) -> str:
        """One value for all that a record depends on: interpreter, libraries, sources.

        A directory of libraries changes its time when a package is added, removed or replaced.

        Args:
            sources: What the project's own files say (``Sources.digest``).
            paths: The directories that libraries are found in.
        """
        python = os.path.realpath(self._environment.python)
        parts = [sources, python, *(f"{path} {_changed_at(path)}" for path in [python, *self._libraries, *paths])]
        return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _libraries_of(environment: Environment) -> list[str]:
    prefixes = {environment.python.parent.parent, Path(os.path.realpath(environment.python)).parent.parent}
    return sorted(str(path) for prefix in prefixes for path in prefix.glob("lib/python3*/*-packages"))


def _changed_at(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 (hundreds of them, at each fork)
    except OSError:
        return 0


def _sweep(directory: Path) -> None:
    oldest = time.time() - _KEPT_SECONDS
    for file in directory.iterdir():
        if file.stat().st_atime < oldest:
            file.unlink(missing_ok=True)
