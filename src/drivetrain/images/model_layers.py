"""The layers of the model's environment: packages as an environment on this host would have them, for the image's platform."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drivetrain.environments.companions import COMPANIONS, SEEDS, missing_companions
from drivetrain.environments.environment import Progress
from drivetrain.environments.requirements import local_content, sources, unset_variables
from drivetrain.images import layout
from drivetrain.images.image import Layer
from drivetrain.images.interpreter import BasePython
from drivetrain.images.layer_maker import LayerMaker, World, key_of
from drivetrain.images.plan import Plan
from drivetrain.images.target import Target
from drivetrain.model.errors import OutsideFailed, ProjectError
from drivetrain.settings import Settings

if TYPE_CHECKING:
    from drivetrain.images.packages import Staging


class ModelLayers:
    """Makes them.

    Args:
        plan: What the image shall be.
        pythons: The interpreters in it: the model's, and the server's, which may be the same.
        maker: Makes and remembers layers.
        settings: Where uv is.
        progress: Told each step.
    """

    def __init__(
        self, plan: Plan, pythons: tuple[BasePython, BasePython], maker: LayerMaker, settings: Settings, progress: Progress
    ) -> None:
        self._plan = plan
        self._python, self._server = pythons
        self._maker = maker
        self._settings = settings
        self._progress = progress

    def world(self) -> World:
        """The layers, and the packages in them.

        Raises:
            ProjectError: The project asks for what cannot be had.
            OutsideFailed: The package index or the disk failed.
        """
        key = self._key()
        if (known := self._maker.known_world(key)) is not None:
            return known
        if unset := unset_variables(self._plan.project.environment.requirements, self._settings.environ):
            names = ", ".join(f"'{name}'" for name in unset)
            raise ProjectError(
                f"the requirements use environment variables that are not set: {names}", hint=f"export {unset[0]}=..."
            )
        return self._maker.remember_world(key, self._made())

    def _target(self) -> Target:
        return Target(platform=self._plan.platform, python=self._python.version, musl=self._python.musl)

    def _key(self) -> str:
        plan, spec, options = self._plan, self._plan.project.environment, self._maker.options
        target = self._target()
        asked = [
            *("model", str(plan.platform), target.uv_platform, target.python, self._python.path, spec.requirements),
            *(plan.torch_backend, SEEDS, COMPANIONS, options.strips, options.precompiles),
            *(options.compression.value, plan.brings_python, self._server.path),
        ]
        return key_of(asked, local_content(spec.requirements, spec.root))

    def _made(self) -> World:
        from drivetrain.images.package_layers import bytecode_layers, package_layers
        from drivetrain.images.packages import staging

        with staging(self._maker.store.directory, self._target(), self._settings, self._progress) as stage:
            self._install(stage)
            stage.check_wheels()
            if self._maker.options.strips:
                _strip(stage.directory)
            with stage.compiling(layout.MODEL, wanted=self._maker.options.precompiles) as compiling:
                distributions = stage.distributions(layout.MODEL)
                layers = [*self._frame(), *package_layers(distributions, "model", self._python.version, self._maker)]
                layers += bytecode_layers(compiling, "bytecode of the packages", self._maker)
        return World(layers=layers, packages=tuple(one.package for one in distributions))

    def _install(self, stage: Staging) -> None:
        """As in an environment on this host: what was always there, what the project names, what came along with Cog."""
        spec = self._plan.project.environment
        self._progress.step(f"Resolving {len(spec.requirements)} requirements for {self._plan.platform}")
        backend = self._plan.torch_backend
        flags = ("--torch-backend", backend) if backend is not None else ()
        variables = dict(spec.variables)
        copies = self._maker.options.strips
        wanted = (*spec.requirements, *SEEDS)
        failure = stage.install(wanted, root=spec.root, flags=flags, variables=variables, copies=copies)
        if failure is not None and failure.is_torch_index:
            self._progress.step("PyTorch's own index cannot be reached; taking its default builds, which may be large")
            failure = stage.install(wanted, root=spec.root, variables=variables, copies=copies)
        if failure is not None:
            raise failure.explain("cannot bring the requirements into the image")
        installed = {one.normal_name: one.version for one in stage.packages()}
        missing = missing_companions(installed)
        pins = [f"{name}=={version}" for name, version in installed.items()]
        more = (*sources(spec.requirements), *pins)
        together = stage.install((*more, *missing), root=spec.root, variables=variables, copies=copies)
        if together is not None and not (together.is_conflict or together.is_build):
            raise together.explain("cannot bring packages into the image")
        for one in missing if together is not None else ():
            stage.install((*more, one), root=spec.root, variables=variables, copies=copies)

    def _frame(self) -> Sequence[Layer]:
        """What the packages stand in: both environments without packages, and the interpreters that the base has not."""
        from drivetrain.images.server_packages import model_world, server_world

        model, server = self._python, self._server
        entries = [
            *model_world(model.path, model.version, server=server.version),
            *server_world(server.path, server.version),
        ]
        lacking = {model.version} if self._plan.brings_python else set()
        lacking |= {server.version} - {model.version}
        return [
            *(self._brought(version) for version in sorted(lacking)),
            self._maker.write(entries, "the environments of the model and of the server"),
        ]

    def _brought(self, version: str) -> Layer:
        from drivetrain.images.archive import files_below
        from drivetrain.images.python_build import fetch_python

        directory = self._maker.store.directory
        with fetch_python(directory, version, self._plan.platform, self._settings, self._progress) as root:
            return self._maker.write(files_below(root, layout.inner(layout.PYTHON)), f"Python {version}")


def _strip(root: Path) -> None:
    """Take debugging symbols out of libraries.

    Raises:
        OutsideFailed: There is no ``strip`` here.
    """
    import subprocess

    program = shutil.which("strip")
    if program is None:
        raise OutsideFailed("there is no 'strip' on this machine", hint="install binutils, or leave out --strip")
    for library in sorted(root.rglob("*.so*")):
        if library.is_file() and not library.is_symlink():
            # Libraries of another kind of machine, and files that are none, stay as they are.
            subprocess.run([program, "--strip-debug", str(library)], capture_output=True, check=False)
