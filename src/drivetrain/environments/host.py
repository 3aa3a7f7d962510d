"""The Python on PATH, as it is: for hosts where the packages are already installed, and images that bring their own."""

from __future__ import annotations

import os
from pathlib import Path

from drivetrain.environments.environment import Environment
from drivetrain.model.errors import ProjectError
from drivetrain.settings import Settings


def host_environment(settings: Settings) -> Environment:
    """The interpreter that ``python`` means in the user's shell: that of an activated environment, else the system's.

    Raises:
        ProjectError: There is none on PATH.
    """
    path = settings.environ.get("PATH", "")
    found = _find("python", path) or _find("python3", path)
    if found is None:
        raise ProjectError("there is no 'python' or 'python3' on PATH", hint="activate an environment, or leave out --env host")
    return Environment(python=found.absolute(), directory=None, variables={})


def _find(name: str, path: str) -> Path | None:
    """As ``shutil.which``, whose module takes milliseconds to import."""
    candidates = (Path(directory, name) for directory in path.split(os.pathsep) if path)
    return next((each for each in candidates if os.access(each, os.X_OK) and not each.is_dir()), None)
