"""Which builds of PyTorch a project gets; pure.

The wheels of PyTorch come for one kind of accelerator each, from an index of their own. uv knows the indexes by the name of a
backend (``cpu``, ``cu126``); here it is decided which. The table is that of Cog's own builds: for each release of torch, the
versions of CUDA it was built for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

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

#: Packages whose wheels come from PyTorch's indexes.
_FAMILY = re.compile(r"^(torch|torchvision|torchaudio)\b(?![-_.])\s*(.*)", re.IGNORECASE)
_PIN = re.compile(r"==\s*([0-9]+\.[0-9]+)[^+,;]*(?:\+(\w+))?")


def torch_backend(requirements: Sequence[str], *, gpu: bool, cuda: str | None, platform: str) -> str | None:
    """The name of uv's torch backend for a project, or ``None`` if the default index is right.

    Args:
        requirements: Normalised requirement lines.
        gpu: Whether the project wants CUDA.
        cuda: The version of CUDA the project names.
        platform: As ``sys.platform``.
    """
    family = [match for line in requirements if (match := _FAMILY.match(line))]
    if not family or platform != "linux":
        return None  # macOS wheels carry Metal, and there is one of each
    if any(" @ " in f" {match[2]}" or match[2].startswith("@") for match in family):
        return None  # the author gives the address of a wheel
    if any(line.startswith(("--index-url", "--extra-index-url", "-i ")) and "pytorch" in line for line in requirements):
        return None  # the author has chosen
    pins = [pin for match in family if (pin := _PIN.search(match[2]))]
    for pin in pins:
        if pin[2]:
            return pin[2]
    if not gpu:
        return "cpu"
    if cuda is not None:
        return _name(cuda)
    pinned = next((pin[1] for match in family if match[1].lower() == "torch" and (pin := _PIN.search(match[2]))), "")
    known = _CUDA_BY_TORCH.get(pinned)
    return _name(known[-1]) if known else "auto"


def _name(cuda: str) -> str:
    major, minor, *_ = [*cuda.split("."), "0"]
    return f"cu{major}{minor}"
