"""Fetch a Python for an image whose base has none: the standalone builds that uv installs."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from drivetrain.environments.environment import Progress
from drivetrain.environments.uv import run_uv
from drivetrain.images.descriptor import Platform
from drivetrain.model.errors import OutsideFailed
from drivetrain.settings import Settings

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@contextlib.contextmanager
def fetch_python(directory: Path, version: str, platform: Platform, settings: Settings, progress: Progress) -> Iterator[Path]:
    """A directory that holds a Python of this version for this platform; removed at the end.

    Raises:
        OutsideFailed: It cannot be fetched.
    """
    place = directory / "staging" / uuid.uuid4().hex[:12]
    request = f"cpython-{version}-linux-{_MACHINES[platform.architecture]}-gnu"
    progress.step(f"Fetching Python {version} for {platform}")
    try:
        arguments = ["python", "install", "--no-bin", "--install-dir", str(place), request]
        failure = run_uv(arguments, settings, progress, variables={"UV_HTTP_RETRIES": "2"})
        if failure is not None:
            raise OutsideFailed(
                f"Python {version} for {platform} cannot be fetched: {failure.reason}",
                hint="name a base that has a Python, such as python:3.12-slim, with --base-image or build.base",
            )
        (root,) = (path for path in place.iterdir() if path.is_dir() and not path.is_symlink() and path.name.startswith("cpython"))
        yield root
    finally:
        shutil.rmtree(place, ignore_errors=True)
