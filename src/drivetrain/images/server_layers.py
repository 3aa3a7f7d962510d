"""The layers of our own environment in an image: drivetrain, and what its server needs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drivetrain import __version__
from drivetrain.environments.environment import Progress
from drivetrain.images import layout, server_stamp
from drivetrain.images.archive import file
from drivetrain.images.image import Layer
from drivetrain.images.layer_maker import LayerMaker, World, key_of
from drivetrain.images.target import Target
from drivetrain.settings import Settings

if TYPE_CHECKING:
    from drivetrain.images.packages import Staging


class ServerLayers:
    """Makes them.

    Args:
        target: What they are for.
        maker: Makes and remembers layers.
        settings: Where uv is.
        progress: Told each step.
    """

    def __init__(self, target: Target, maker: LayerMaker, settings: Settings, progress: Progress) -> None:
        self._target = target
        self._maker = maker
        self._settings = settings
        self._progress = progress

    def layers(self) -> list[Layer]:
        """All of them.

        Raises:
            OutsideFailed: The package index or the disk failed.
        """
        options = self._maker.options
        asked = [self._target.uv_platform, self._target.python, options.compression.value, options.precompiles]
        packages_key = key_of(["server", *asked, server_stamp.of_environment()])
        packages = self._maker.known_world(packages_key) or self._maker.remember_world(packages_key, self._packages())
        own_key = key_of(["own", __version__, *asked, options.certificates, server_stamp.of_sources()])
        own = self._maker.known_world(own_key) or self._maker.remember_world(own_key, self._own())
        return [*packages.layers, *own.layers]

    def _packages(self) -> World:
        from drivetrain.images.package_layers import bytecode_layers, package_layers
        from drivetrain.images.packages import staging
        from drivetrain.images.server_packages import constraints, requirements

        self._progress.step("Fetching what the server needs")
        with staging(self._maker.store.directory, self._target, self._settings, self._progress) as stage:
            self._install(stage, requirements(), constraints())
            stage.check_wheels()
            with stage.compiling(layout.SERVER, wanted=self._maker.options.precompiles) as compiling:
                distributions = stage.distributions(layout.SERVER)
                layers = package_layers(distributions, "server", self._target.python, self._maker)
                layers += bytecode_layers(compiling, "bytecode of the server's packages", self._maker)
        return World(layers=layers, packages=tuple(one.package for one in distributions))

    def _own(self) -> World:
        """drivetrain itself, and its bytecode."""
        from drivetrain.images.package_layers import bytecode_layers
        from drivetrain.images.packages import staging
        from drivetrain.images.server_packages import server_files

        entries = list(server_files(self._target.python))
        packages = layout.inner(layout.site_packages(layout.SERVER, self._target.python))
        certificates = self._maker.options.certificates
        extra = [file(layout.inner(layout.CERTIFICATES), certificates)] if certificates is not None else []
        with staging(self._maker.store.directory, self._target, self._settings, self._progress) as stage:
            for entry in entries:
                if entry.source is not None and entry.name.startswith(packages):
                    path = stage.directory / Path(entry.name).relative_to(packages)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(entry.source, path)
            with stage.compiling(layout.SERVER, wanted=self._maker.options.precompiles) as compiling:
                layers = [self._maker.write([*entries, *extra], f"drivetrain {__version__}")]
                layers += bytecode_layers(compiling, f"bytecode of drivetrain {__version__}", self._maker)
        return World(layers=layers)

    def _install(self, stage: Staging, lines: Sequence[str], pins: Sequence[str]) -> None:
        stage.directory.mkdir(parents=True)
        named = stage.directory.with_suffix(".constraints")
        named.write_text("".join(f"{pin}\n" for pin in pins), encoding="utf-8")
        try:
            failure = stage.install(lines, root=stage.directory, flags=("--constraints", str(named), "--only-binary", ":all:"))
        finally:
            named.unlink()
        if failure is not None:
            raise failure.explain("cannot bring the server into the image")
