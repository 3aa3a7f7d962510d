"""Build a virtual environment: an interpreter, what was always there, what the project names, what came along with Cog."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from drivetrain.environments.companions import SEEDS, installed_versions, missing_companions
from drivetrain.environments.environment import Progress
from drivetrain.environments.interpreter import find_interpreter
from drivetrain.environments.requirements import flags_for_uv, lines_for_uv, sources, split_paths, unset_variables
from drivetrain.environments.torch import backend_for, named_build
from drivetrain.environments.uv import run_uv
from drivetrain.environments.uv_failure import UvFailure
from drivetrain.model.errors import ProjectError
from drivetrain.model.project import EnvironmentSpec
from drivetrain.settings import Settings


def build(spec: EnvironmentSpec, settings: Settings, venv: Path, progress: Progress) -> str:
    """Make the virtual environment ``venv``, which does not exist yet, and fill it.

    Returns:
        The full version of its Python.

    Raises:
        ProjectError: The project asks for what cannot be had.
        OutsideFailed: Network, disk or permissions failed.
    """
    if unset := unset_variables(spec.requirements, settings.environ):
        names = ", ".join(f"'{name}'" for name in unset)
        raise ProjectError(f"the requirements use environment variables that are not set: {names}", hint=f"export {unset[0]}=...")
    interpreter = find_interpreter(spec.python_version, settings, progress)
    progress.step(f"Making an environment with Python {interpreter}")
    failure = run_uv(["venv", "--no-project", "--python", str(interpreter.path), str(venv)], settings, progress)
    if failure is not None:
        raise failure.explain("cannot make a virtual environment")
    builder = _Builder(spec, settings, venv, progress)
    builder.add_if_possible(SEEDS)
    builder.install_requirements()
    builder.add_companions()
    return str(interpreter)


class _Builder:
    def __init__(self, spec: EnvironmentSpec, settings: Settings, venv: Path, progress: Progress) -> None:
        self._spec = spec
        self._settings = settings
        self._venv = venv
        self._progress = progress

    def install_requirements(self) -> None:
        """Install what the project names.

        Raises:
            DrivetrainError: It cannot be installed.
        """
        count = sum(not line.startswith("-") or line.startswith(("-e ", "-r ")) for line in self._spec.requirements)
        if not count:
            return
        self._progress.step(f"Installing {count} requirement{'s' if count != 1 else ''} and what they need")
        backend = backend_for(self._spec, self._settings)
        has_other = backend is not None and not named_build(self._spec.requirements)
        failure = self._try_requirements(backend, retries=1 if has_other else None)
        if failure is not None and has_other:
            failure = self._try_otherwise(failure, backend)
        if failure is not None:
            raise failure.explain("cannot install the requirements")

    def _try_otherwise(self, failure: UvFailure, backend: str | None) -> UvFailure | None:
        """Some networks do not let PyTorch's own indexes through, and these do not have every version."""
        if failure.is_torch_index:
            self._progress.step("PyTorch's own index cannot be reached; taking its default builds, which may be large")
            return self._try_requirements(None)
        if failure.is_network:
            return self._try_requirements(backend)
        return self._try_requirements(None) if failure.is_conflict else failure

    def _try_requirements(self, backend: str | None, retries: int | None = None) -> UvFailure | None:
        flags = ("--torch-backend", backend) if backend is not None else ()
        return self._install(self._spec.requirements, flags, retries)

    def add_companions(self) -> None:
        """Install what came along with Cog and is not there yet, without changing what is there."""
        installed = installed_versions(self._venv)
        if missing := missing_companions(installed):
            self._progress.step(f"Adding what came along with Cog: {', '.join(missing)}")
            constraints = self._venv / "constraints.txt"
            constraints.write_text("".join(f"{name}=={version}\n" for name, version in installed.items()), encoding="utf-8")
            self.add_if_possible(missing, flags=("--constraints", str(constraints)))

    def add_if_possible(self, packages: Sequence[str], flags: Sequence[str] = ()) -> None:
        """Install packages that the project may well do without.

        Raises:
            DrivetrainError: Not the packages are at fault, and trying again may help.
        """
        failure = self._add(packages, flags)
        if failure is None:
            return
        left_out = [package for package in packages if self._add([package], flags) is not None]
        if left_out:
            names = ", ".join(package.partition(";")[0] for package in left_out)
            self._progress.step(f"Left out, since they cannot be installed beside the requirements: {names}")

    def _add(self, packages: Sequence[str], flags: Sequence[str]) -> UvFailure | None:
        failure = self._install((*sources(self._spec.requirements), *packages), flags)
        if failure is not None and not (failure.is_conflict or failure.is_build):
            raise failure.explain("cannot make the environment")
        return failure

    def _install(self, requirements: Sequence[str], flags: Sequence[str], retries: int | None = None) -> UvFailure | None:
        lines, paths = split_paths(lines_for_uv(requirements))
        return run_uv(
            [
                *("pip", "install", "--python", str(self._venv / "bin" / "python")),
                # The lines were written for pip, which takes the best version of all indexes together.
                *("--index-strategy", "unsafe-best-match"),
                # Python compiles what a model imports when it does, which takes less time than compiling everything now.
                *(("--compile-bytecode",) if self._settings.environ.get("PYTHONDONTWRITEBYTECODE") else ()),
                *flags_for_uv(requirements),
                *flags,
                *("--requirements", "-"),
                *paths,
            ],
            self._settings,
            self._progress,
            directory=self._spec.root,
            # Cog sets the project's own variables before it installs.
            variables={**self._spec.variables, **({"UV_HTTP_RETRIES": str(retries)} if retries is not None else {})},
            lines=lines,
        )
