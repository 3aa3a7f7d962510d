"""Realise an environment as a virtual environment made by uv; found again at once when it has been made before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from drivetrain.environments.environment import Environment, Progress
from drivetrain.environments.store import EnvironmentPlace
from drivetrain.model.errors import InternalError, OutsideFailed
from drivetrain.model.project import EnvironmentSpec
from drivetrain.settings import Settings

if TYPE_CHECKING:
    from drivetrain.environments.uv import UvFailure


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
    if (ready := place.read()) is not None:
        return ready
    with place.locked(progress):
        if (ready := place.read()) is not None:
            return ready
        try:
            _build(spec, settings, place, progress)
        except OSError as error:
            raise OutsideFailed(f"cannot make the environment in '{place.directory}': {error.strerror or error}") from error
    if (ready := place.read()) is None:
        raise InternalError(f"the environment in '{place.directory}' is not there after it was made")
    return ready


def _build(spec: EnvironmentSpec, settings: Settings, place: EnvironmentPlace, progress: Progress) -> None:
    from drivetrain.environments.interpreter import find_interpreter
    from drivetrain.environments.uv import run_uv

    place.remove()
    interpreter = find_interpreter(spec.python_version, settings, progress)
    progress.step(f"Making an environment with Python {interpreter}")
    # Seeded, since projects call pip, and old packages import the setuptools that used to be in every environment.
    arguments = ["venv", "--seed", "--no-project", "--no-config", "--python", str(interpreter.path), str(place.directory)]
    failure = run_uv(arguments, settings, progress)
    if failure is not None:
        raise failure.explain("cannot make a virtual environment")
    _Installer(spec, settings, place.directory, progress).install()
    place.mark_whole(str(interpreter))


class _Installer:
    """Installs a project's requirements, giving up what was ours to add before it gives up."""

    def __init__(self, spec: EnvironmentSpec, settings: Settings, directory: Path, progress: Progress) -> None:
        self._spec = spec
        self._settings = settings
        self._directory = directory
        self._progress = progress

    def install(self) -> None:
        import sys

        from drivetrain.environments.requirements import IMPLICIT
        from drivetrain.environments.torch import torch_backend

        spec = self._spec
        backend = torch_backend(spec.requirements, gpu=spec.gpu, cuda=spec.cuda, platform=sys.platform)
        implicit: tuple[str, ...] = IMPLICIT
        count = len(spec.requirements)
        self._progress.step(f"Installing {count} requirement{'s' if count != 1 else ''} and what they need")
        failure = self._attempt(implicit, backend)
        if failure is not None and failure.is_network and backend is not None:
            self._progress.step(f"The index with PyTorch's builds for '{backend}' cannot be reached; taking the default builds")
            backend = None
            failure = self._attempt(implicit, backend)
        if failure is not None and failure.is_conflict:
            self._progress.step("Trying without the packages that Cog brought along")
            without = self._attempt((), backend)
            failure = without if without is None or without.is_conflict else failure
        if failure is not None:
            raise failure.explain("cannot install the project's requirements")

    def _attempt(self, implicit: tuple[str, ...], backend: str | None) -> UvFailure | None:
        from drivetrain.environments.requirements import installation
        from drivetrain.environments.uv import run_uv

        wanted = installation(self._spec.requirements, implicit=implicit)
        file = self._directory / "requirements.txt"
        file.write_text("".join(f"{line}\n" for line in wanted.lines), encoding="utf-8")
        arguments = [
            *("pip", "install", "--python", str(self._directory / "bin" / "python")),
            *("--no-config", "--compile-bytecode"),
            # The lines were written for pip, which takes the best version of all indexes together.
            *("--index-strategy", "unsafe-best-match"),
            *wanted.flags,
            *(("--torch-backend", backend) if backend is not None else ()),
            *("--requirements", str(file)),
        ]
        variables = {"UV_HTTP_RETRIES": "1"} if backend is not None else {}
        return run_uv(arguments, self._settings, self._progress, directory=self._spec.root, variables=variables)
