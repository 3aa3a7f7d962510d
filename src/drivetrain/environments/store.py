"""Where environments are kept: a directory for each, named by what it was made from, and the mark that it is whole.

An environment is whole when its mark is there. The mark is written last; without it, whatever stands in the directory is left from
a build that was interrupted, and the next build removes it. Builds of one environment hold a lock that the kernel releases when
its holder dies.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from drivetrain.environments.environment import Environment, Progress
from drivetrain.environments.requirements import local_files
from drivetrain.model.errors import OutsideFailed
from drivetrain.model.project import EnvironmentSpec
from drivetrain.settings import Settings

#: To be raised when environments of before must not be used any more.
_FORMAT = 1

_MARK = "ready.json"


def environment_key(spec: EnvironmentSpec) -> str:
    """A name that is the same exactly for the specs that can share an environment.

    The interpreter is asked for by version: finding the one that is installed is left to the build, since it takes time.
    """
    machine = os.uname()
    asked = {
        "format": _FORMAT,
        "platform": [machine.sysname, machine.machine],
        "python": spec.python_version,
        "requirements": spec.requirements,
        "gpu": spec.gpu,
        "cuda": spec.cuda,
    }
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode())
    for path in local_files(spec.requirements, spec.root):
        for part in _content(path):
            digest.update(part)
    return digest.hexdigest()[:32]


def _content(path: Path) -> Iterator[bytes]:
    yield str(path).encode()
    if path.is_file():
        yield path.read_bytes()
        return
    for directory, subdirectories, files in os.walk(path):
        subdirectories[:] = sorted(name for name in subdirectories if not name.startswith((".", "__pycache__")))
        for name in sorted(files):
            status = Path(directory, name).stat()
            yield f"{directory}/{name} {status.st_size} {status.st_mtime_ns}".encode()


class EnvironmentPlace:
    """The place of one environment.

    Args:
        spec: What it is made from.
        settings: Where environments are kept.
    """

    def __init__(self, spec: EnvironmentSpec, settings: Settings) -> None:
        self._settings = settings
        self.directory = settings.cache_directory / "environments" / environment_key(spec)

    def read(self) -> Environment | None:
        """The environment, if it is whole and its interpreter is still there."""
        try:
            mark = json.loads((self.directory / _MARK).read_bytes())
        except (OSError, ValueError):
            return None
        python = self.directory / "bin" / "python"
        if not os.access(python, os.X_OK):  # follows the link to the interpreter it was made from
            return None
        path = os.pathsep.join(filter(None, (str(self.directory / "bin"), self._settings.environ.get("PATH"))))
        return Environment(
            python=python,
            python_version=mark["python_version"],
            directory=self.directory,
            variables={"PATH": path, "VIRTUAL_ENV": str(self.directory)},
        )

    def mark_whole(self, python_version: str) -> None:
        """Say that the environment is whole."""
        begun = self.directory / f"{_MARK}.begun"
        begun.write_text(json.dumps({"format": _FORMAT, "python_version": python_version}), encoding="utf-8")
        begun.replace(self.directory / _MARK)

    def remove(self) -> None:
        """Remove what stands in the directory."""
        import shutil

        if self.directory.exists():
            (self.directory / _MARK).unlink(missing_ok=True)  # first: a removal may be interrupted too
            shutil.rmtree(self.directory)

    @contextlib.contextmanager
    def locked(self, progress: Progress) -> Iterator[None]:
        """Keep other processes from building the same environment.

        Raises:
            OutsideFailed: The cache directory cannot be written to.
        """
        import fcntl

        try:
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            lock = self.directory.with_suffix(".lock").open("w")
        except OSError as error:
            raise OutsideFailed(
                f"cannot write to the cache directory '{self.directory.parent}': {error.strerror}",
                hint="set DRIVETRAIN_CACHE_DIR to a directory that can be written to",
            ) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress.step("Waiting for another process that is making this environment")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
