"""Look at this machine, as far as it concerns one project. Nothing is made, fetched or changed."""

from __future__ import annotations

import os
import platform
import re
import shutil
from pathlib import Path

from drivetrain.dialects.cog.doctor.case import Gpus, Host
from drivetrain.environments.installed import Interpreter, installed_interpreters
from drivetrain.environments.interpreter import PREFERRED, choose
from drivetrain.environments.system_packages import missing_packages_finding
from drivetrain.environments.torch import backend_for
from drivetrain.environments.uv import run_uv
from drivetrain.environments.venv import find_ready
from drivetrain.model.errors import DrivetrainError
from drivetrain.model.project import Project
from drivetrain.settings import Settings

_DRIVER_VERSION = re.compile(r"NVRM version:.*?\s(\d+(?:\.\d+)+)\s")
_NVIDIA = "0x10de"
#: PCI classes of graphics cards and of accelerators without a display.
_GPU_CLASSES = ("0x0300", "0x0302")


def look_at_host(project: Project, settings: Settings) -> Host:
    """The facts that the checks of a project are given."""
    spec = project.environment
    ready = find_ready(spec, settings)
    installed = list(installed_interpreters(settings)) if ready is None else []
    chosen = choose(spec.python_version, installed)
    python = ready.python_version if ready is not None else str(chosen) if chosen is not None else None
    usage = shutil.disk_usage(_nearest(settings.cache_directory))
    return Host(
        system=platform.system(),
        python=python,
        installed_pythons=_versions(installed),
        can_fetch_python=python is None and _can_fetch(spec.python_version, settings),
        system_packages=missing_packages_finding(spec),
        gpus=nvidia_gpus(Path("/")),
        torch_builds=backend_for(spec, settings),
        environment_is_made=ready is not None,
        cache_directory=settings.cache_directory,
        cache_problem=cache_problem(settings.cache_directory),
        free_bytes=usage.free,
        has_root_at_src=Path("/src").resolve() == project.root.resolve(),
    )


def nvidia_gpus(root: Path) -> Gpus:
    """GPUs that are plugged in, and the driver that runs them.

    Args:
        root: Where the system's directories begin.
    """
    version = root / "proc" / "driver" / "nvidia" / "version"
    match = _DRIVER_VERSION.search(version.read_text(encoding="utf-8")) if version.is_file() else None
    driven = root / "proc" / "driver" / "nvidia" / "gpus"
    plugged = sum(map(_is_nvidia_gpu, (root / "sys" / "bus" / "pci" / "devices").glob("*")))
    return Gpus(
        count=max(plugged, len(list(driven.glob("*")))),
        driver=tuple(map(int, match[1].split("."))) if match else None,
    )


def cache_problem(directory: Path) -> str | None:
    """Why nothing can be written to a directory, or below it; it need not be there yet."""
    nearest = _nearest(directory)
    blocking = next((path for path in (directory, *directory.parents) if path.exists()), nearest)
    if not blocking.is_dir():
        return f"'{blocking}' is not a directory"
    return None if os.access(nearest, os.W_OK | os.X_OK) else f"'{nearest}' cannot be written to"


class _Listing:
    """Keeps what uv writes."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, text: str) -> None:
        """Nobody watches."""

    def detail(self, line: str) -> None:
        """A line that uv has written."""
        self.lines.append(line)


def _can_fetch(request: str | None, settings: Settings) -> bool:
    listing = _Listing()
    version = request or ".".join(map(str, PREFERRED[0]))
    try:
        failure = run_uv(["python", "list", "--offline", "--only-downloads", version], settings, listing)
    except DrivetrainError:
        return False
    return failure is None and any(line.startswith("cpython-") for line in listing.lines)


def _versions(installed: list[Interpreter]) -> tuple[str, ...]:
    minors = sorted({interpreter.version[:2] for interpreter in installed})
    return tuple(".".join(map(str, minor)) for minor in minors)


def _is_nvidia_gpu(device: Path) -> bool:
    try:
        vendor, kind = ((device / name).read_text(encoding="utf-8").strip() for name in ("vendor", "class"))
    except OSError:
        return False
    return vendor == _NVIDIA and kind.startswith(_GPU_CLASSES)


def _nearest(directory: Path) -> Path:
    directory = directory.absolute()
    return next(path for path in (directory, *directory.parents) if path.is_dir())
