"""Which builds of PyTorch a project gets; pure.

The wheels of PyTorch come for one kind of accelerator each, from an index of their own. uv knows these indexes by the name of a
backend (``cpu``, ``cu126``) and looks there for nothing but PyTorch's own packages; here it is decided which. The table is that
of Cog's own builds: for each release of torch, the versions of CUDA it was built for.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence

from drivetrain.model.project import EnvironmentSpec
from drivetrain.settings import Settings

_CUDA_BY_TORCH: Mapping[str, tuple[str, ...]] = {
    "1.11": ("10.2", "11.3"),
    "1.12": ("10.2", "11.3", "11.6"),
    "1.13": ("11.6", "11.7"),
    "2.0": ("11.7", "11.8"),
    "2.1": ("11.8", "12.1"),
    "2.2": ("11.8", "12.1"),
    "2.3": ("11.8", "12.1"),
    "2.4": ("11.8", "12.1", "12.4"),
    "2.5": ("11.8", "12.1", "12.4"),
    "2.6": ("11.8", "12.4", "12.6"),
    "2.7": ("11.8", "12.6", "12.8"),
    "2.8": ("12.6", "12.8", "12.9"),
    "2.9": ("12.6", "12.8", "13.0"),
    "2.10": ("12.6", "12.8", "13.0"),
    "2.11": ("12.6", "12.8", "12.9", "13.0"),
}

_FAMILY = re.compile(r"^(torch|torchvision|torchaudio)(?![\w.-])\s*(.*)", re.IGNORECASE)
_PIN = re.compile(r"==\s*v?([0-9]+\.[0-9]+)[^+,;\s]*(?:\+(\w+))?")


def backend_for(spec: EnvironmentSpec, settings: Settings) -> str | None:
    """The name of uv's torch backend: the one the user has told uv to take, else the one that suits the project."""
    named = settings.environ.get("UV_TORCH_BACKEND")
    return named or torch_backend(spec.requirements, gpu=spec.gpu, cuda=spec.cuda, platform=sys.platform)


def torch_backend(requirements: Sequence[str], *, gpu: bool, cuda: str | None, platform: str) -> str | None:
    """The name of uv's torch backend for a project, or ``None`` if the default index is right.

    A project that does not name torch may well get it through another package, so that it makes no difference whether it does.

    Args:
        requirements: Normalised requirement lines.
        gpu: Whether the project wants CUDA.
        cuda: The version of CUDA the project names.
        platform: As ``sys.platform``.
    """
    if platform != "linux":
        return None  # macOS wheels carry Metal, and there is one of each
    if any(line.startswith(("--index-url ", "--extra-index-url ")) and "pytorch" in line for line in requirements):
        return None  # the author has chosen
    family = {match[1].lower(): match[2] for line in requirements if (match := _FAMILY.match(line))}
    if any("@" in version for version in family.values()):
        return None  # the author gives the address of a wheel
    if (build := named_build(requirements)) is not None:
        return build
    if not gpu:
        return "cpu"
    pin = _PIN.search(family.get("torch", ""))
    return _cuda_backend(pin[1] if pin else None, cuda)


def named_build(requirements: Sequence[str]) -> str | None:
    """The build that a requirement is pinned to, as in ``torch==2.5.1+cu121``. No other index than PyTorch's has it."""
    pins = (_PIN.search(match[2]) for line in requirements if (match := _FAMILY.match(line)))
    return next((pin[2] for pin in pins if pin and pin[2]), None)


def _cuda_backend(torch: str | None, cuda: str | None) -> str | None:
    """The newest build, not newer than the CUDA that is named; ``auto`` has uv look at the driver."""
    if torch is None:
        known = {version for versions in _CUDA_BY_TORCH.values() for version in versions}
        return _name(cuda) if cuda is not None and _minor(cuda) in map(_minor, known) else "auto"
    built_for = [version for version in _CUDA_BY_TORCH.get(torch, ()) if cuda is None or _minor(version) <= _minor(cuda)]
    return _name(built_for[-1]) if built_for else None


def _minor(cuda: str) -> tuple[int, int]:
    major, minor, *_ = [*cuda.split("."), "0"]
    return int(major), int(minor)


def _name(cuda: str) -> str:
    major, minor = _minor(cuda)
    return f"cu{major}{minor}"
