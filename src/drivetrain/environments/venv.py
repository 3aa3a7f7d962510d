"""Realise an environment as a virtual environment made by uv; found again at once when it has been made before."""

from __future__ import annotations

import errno

from drivetrain.environments.environment import Environment, Progress
from drivetrain.environments.store import EnvironmentPlace
from drivetrain.model.errors import InternalError, OutsideFailed
from drivetrain.model.project import EnvironmentSpec
from drivetrain.settings import Settings


def find_ready(spec: EnvironmentSpec, settings: Settings) -> Environment | None:
    """The environment if it has been made before. Reads a few files and starts nothing."""
    return EnvironmentPlace(spec, settings).read()


def prepare(spec: EnvironmentSpec, settings: Settings, *, progress: Progress) -> Environment:
    """The environment, made now if need be. Two processes that ask at once get the same, made once.

    Raises:
        ProjectError: The project asks for what cannot be had.
        OutsideFailed: Network, disk or permissions failed. Nothing half-made will be taken for whole.
    """
    place = EnvironmentPlace(spec, settings)
    try:
        with place.locked(progress):
            return place.read() or _make(spec, settings, place, progress)
    except OSError as error:
        raise OutsideFailed(
            f"cannot make an environment in '{place.directory.parent}': {error.strerror or error}",
            hint="free some space, or set DRIVETRAIN_CACHE_DIR to another disk"
            if error.errno == errno.ENOSPC
            else "set DRIVETRAIN_CACHE_DIR to a directory that can be written to",
        ) from error


def _make(spec: EnvironmentSpec, settings: Settings, place: EnvironmentPlace, progress: Progress) -> Environment:
    from drivetrain.environments.build import build

    with place.new_venv() as venv:
        place.mark_whole(venv, build(spec, settings, venv, progress))
    if (ready := place.read()) is None:
        raise InternalError(f"the environment in '{place.directory}' is not there after it was made")
    return ready
