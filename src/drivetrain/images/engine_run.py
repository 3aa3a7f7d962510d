"""Run images with docker or podman."""

from __future__ import annotations

import tempfile
from pathlib import Path

from drivetrain.images.engines import Engine
from drivetrain.images.export import image_of, write_docker_archive, write_layout
from drivetrain.images.image import Manifest
from drivetrain.images.transfer import Transfers


def load_image(engine: Engine, transfers: Transfers, manifest: Manifest, name: str) -> None:
    """Hand an image of the store to an engine, under a name.

    Raises:
        OutsideFailed: A layer of the base cannot be brought here; the engine refuses the image.
    """
    transfers.complete(manifest)
    with tempfile.TemporaryDirectory(prefix="drivetrain-load-") as temporary:
        if engine.name == "docker":
            archive = Path(temporary) / "image.docker.tar"
            write_docker_archive(transfers.store, image_of(transfers.store, manifest), name, archive)
            engine.call("load", "--quiet", "--input", str(archive))
            return
        directory = Path(temporary) / "image"
        write_layout(transfers.store, manifest, "loaded", directory)
        loaded = engine.call("pull", "--quiet", f"oci:{directory}").split()[-1]
        engine.call("tag", loaded, name)
