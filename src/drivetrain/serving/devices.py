"""Which GPUs there are, and which of them each worker sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


def visible_device(number: int, workers: int, devices: Sequence[str]) -> str | None:
    """The value of ``CUDA_VISIBLE_DEVICES`` for a worker, or ``None`` to leave it as it is.

    One worker sees every GPU, since a model may spread over several. Of several workers each sees one, in turn.

    Args:
        number: Which worker, from 0.
        workers: How many there are.
        devices: The GPUs that they may use.
    """
    if workers < 2 or not devices:
        return None
    return devices[number % len(devices)]


def available_devices(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The GPUs that processes with this environment may use: those that it names, else those that the driver shows."""
    named = environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(name.strip() for name in named.split(",") if name.strip())
    gpus = Path("/proc/driver/nvidia/gpus")
    return tuple(str(number) for number, _ in enumerate(gpus.iterdir())) if gpus.is_dir() else ()
