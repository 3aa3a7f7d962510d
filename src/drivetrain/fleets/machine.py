"""What this machine has to give to runners."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from drivetrain.platform.fleet import Capacity
from drivetrain.serving.devices import available_devices

#: Where the limit of a container's memory stands: of control groups 2 and 1.
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
#: The processor time of a container: microseconds, and of how many.
_PROCESSOR_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def capacity_of_machine(environ: Mapping[str, str]) -> Capacity:
    """GPUs, memory and cores that processes here may use: the machine's, or the container's if that is less.

    Args:
        environ: Read for ``CUDA_VISIBLE_DEVICES``.
    """
    return Capacity(gpus=available_devices(environ), memory=min(_memory()), cpus=min(_cores()))


def _memory() -> Iterator[int]:
    yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in _LIMITS:
        text = _text(file)
        if text.isdigit():
            yield int(text)


def _cores() -> Iterator[float]:
    yield len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    match _text(_PROCESSOR_LIMIT).split():
        case [quota, period] if quota.isdigit() and period.isdigit():
            yield int(quota) / int(period)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
