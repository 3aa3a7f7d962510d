"""Find and end the processes that a worker leaves behind.

A worker leads a process group, which is ended with it. What left the group (a daemon that forked twice) still carries the
environment variable that the worker was started with, and is found by it where the kernel shows environments.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from drivetrain.serving.launch import FAMILY_VARIABLE

_PROC = Path("/proc")


def kill(group: int, family: str) -> None:
    """End every process of the worker's group and family.

    Args:
        group: The worker's process group.
        family: Value of ``FAMILY_VARIABLE`` in the worker and its descendants.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    for process in _members(family):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)


def _members(family: str) -> Iterator[int]:
    mark = f"{FAMILY_VARIABLE}={family}".encode()
    if not _PROC.is_dir():
        return
    for directory in _PROC.iterdir():
        if not directory.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # not ours to see, or already gone
            if mark in (directory / "environ").read_bytes().split(b"\0"):
                yield int(directory.name)
