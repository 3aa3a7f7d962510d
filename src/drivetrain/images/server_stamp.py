"""What changes whenever our own part of an image would: found by looking at directories, without reading any file.

A push after an edit of a line asks this each time, so it must take no longer than a few milliseconds.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_INFORMATION = ".dist-info"
_OWN = "drivetrain-"


def of_environment() -> list[Any]:
    """Which packages are installed here, and what drivetrain says that it needs."""
    names: list[str] = []
    metadata: list[Any] = []
    for directory in filter(os.path.isdir, sys.path):
        found = sorted(name for name in os.listdir(directory) if name.endswith(_INFORMATION))  # noqa: PTH208 (several times faster)
        names += found
        metadata += [_stamp(f"{directory}/{name}/METADATA") for name in found if name.startswith(_OWN)]
    return [names, metadata]


def of_sources() -> list[Any]:
    """The files of drivetrain, as the kernel keeps them: names, sizes and times."""
    root = Path(__file__).parents[2]
    return [stamp for name in ("drivetrain", "drivetrain_worker") for stamp in _stamps(str(root / name))]


def _stamps(directory: str) -> Iterator[list[Any]]:
    with os.scandir(directory) as found:
        entries = sorted(found, key=lambda one: one.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if entry.name != "__pycache__":
                yield from _stamps(entry.path)
        else:
            yield _stamp(entry.path)


def _stamp(path: str) -> list[Any]:
    status = os.stat(path)  # noqa: PTH116 (several times faster)
    return [path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]
