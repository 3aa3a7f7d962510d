"""Where environments are kept: a directory for each, named by what it was made from.

In it stand the virtual environment, under a name that is new for each build, and the mark that says which one is whole. The mark is
written last and at once. So a build that was interrupted leaves nothing that anybody would use, and an installer that outlives a
killed build goes on writing where nobody looks. Whoever builds holds a lock, which the kernel releases when its holder dies.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from drivetrain.environments.companions import COMPANIONS, SEEDS
from drivetrain.environments.environment import Environment, Progress
from drivetrain.environments.requirements import local_content
from drivetrain.environments.torch import backend_for
from drivetrain.model.project import EnvironmentSpec
from drivetrain.settings import Settings

#: To be raised when environments of before must not be used any more.
_FORMAT = 2

_MARK = "ready.json"
_VENV = "venv-"

#: Which GPU builds are right depends on it where the project leaves the choice open.
_DRIVER = Path("/proc/driver/nvidia/version")


def environment_key(spec: EnvironmentSpec, settings: Settings) -> str:
    """A name that is the same exactly for the specs that can share an environment.

    The interpreter is asked for by version: finding the one that is installed is left to the build, since it takes time. Values of
    variables in the lines do not count, since they are credentials, which change; nor do the project's own variables, of which few
    have a meaning for what is installed.
    """
    machine = os.uname()
    backend = backend_for(spec, settings)
    asked = {
        "format": _FORMAT,
        "platform": [machine.sysname, machine.machine],
        "python": spec.python_version,
        "requirements": spec.requirements,
        "companions": [SEEDS, COMPANIONS],
        "torch": [backend, _driver() if backend == "auto" else None],
    }
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode())
    for part in local_content(spec.requirements, spec.root):
        digest.update(part)
    return digest.hexdigest()[:32]


def _driver() -> str | None:
    return _DRIVER.read_text(encoding="utf-8") if _DRIVER.exists() else None


class EnvironmentPlace:
    """The place of one environment.

    Args:
        spec: What it is made from.
        settings: Where environments are kept.
    """

    def __init__(self, spec: EnvironmentSpec, settings: Settings) -> None:
        self._settings = settings
        self.directory = settings.cache_directory.absolute() / "environments" / environment_key(spec, settings)

    def read(self) -> Environment | None:
        """The environment, if it is whole and the interpreter it was made from is still there."""
        try:
            mark = json.loads((self.directory / _MARK).read_bytes())
            venv, version, made_from = (mark[name] for name in ("venv", "python_version", "interpreter"))
        except (OSError, ValueError, LookupError, TypeError):
            return None
        directory = self.directory / venv
        python = directory / "bin" / "python"
        if os.path.realpath(python) != made_from or not os.access(python, os.X_OK):
            return None
        path = os.pathsep.join(filter(None, (str(python.parent), self._settings.environ.get("PATH"))))
        return Environment(
            python=python,
            python_version=version,
            directory=directory,
            variables={"PATH": path, "VIRTUAL_ENV": str(directory)},
        )

    @contextlib.contextmanager
    def new_venv(self) -> Iterator[Path]:
        """A path for a virtual environment; removed again if the block fails. To be called with the lock held.

        Removes what earlier builds have left, as far as it can be removed.
        """
        import shutil
        import uuid

        (self.directory / _MARK).unlink(missing_ok=True)
        for left in self.directory.glob(f"{_VENV}*"):
            shutil.rmtree(left, ignore_errors=True)
        venv = self.directory / f"{_VENV}{uuid.uuid4().hex[:8]}"
        try:
            yield venv
        except BaseException:
            shutil.rmtree(venv, ignore_errors=True)
            raise

    def mark_whole(self, venv: Path, python_version: str) -> None:
        """Say that a virtual environment is whole."""
        mark = {"venv": venv.name, "python_version": python_version, "interpreter": os.path.realpath(venv / "bin" / "python")}
        begun = venv / _MARK
        begun.write_text(json.dumps(mark), encoding="utf-8")
        begun.replace(self.directory / _MARK)

    @contextlib.contextmanager
    def locked(self, progress: Progress) -> Iterator[None]:
        """Keep other processes from building the same environment."""
        import fcntl

        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress.step("Waiting for another process that is making this environment")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
