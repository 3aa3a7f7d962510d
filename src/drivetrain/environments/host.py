"""The Python on PATH, as it is: for hosts where the packages are already installed, and images that bring their own."""

from __future__ import annotations

import shutil
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
    found = shutil.which("python", path=path) or shutil.which("python3", path=path)
    if found is None:
        raise ProjectError("there is no 'python' or 'python3' on PATH", hint="activate an environment, or leave out --env host")
    return Environment(python=Path(found).absolute(), directory=None, variables={})
