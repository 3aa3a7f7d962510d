"""Find and end the processes that a worker leaves behind.

A worker leads a process group, which is ended with it. What left the group (a daemon that forked twice) still carries the
environment variable that the worker was started with, and is found by it where the kernel shows environments.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from drivetrain.serving.spawning import FAMILY_VARIABLE

_PROC = Path("/proc")

#: A member that forks while the others are looked for may have a child that was not seen. The dead have no environment.
_ROUNDS = 5

#: How long the kernel may take to end what has been killed; a driver can hold a process for a while.
_END_SECONDS = 10.0


def kill(group: int, family: str) -> None:
    """End every process of the worker's group and family.

    Args:
        group: The worker's process group.
        family: Value of ``FAMILY_VARIABLE`` in the worker and its descendants.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    kill_marked(FAMILY_VARIABLE, family)


def kill_marked(variable: str, value: str) -> None:
    """End every process that was started with this environment variable, but not the one that calls."""
    for _ in range(_ROUNDS):
        members = _members(f"{variable}={value}".encode())
        for process in members:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        if not members:
            return


def end_marked(variable: str, value: str) -> None:
    """The same, and wait until they are gone: what is killed holds its memory, and its GPU, a moment longer."""
    for _ in range(_ROUNDS):
        members = _members(f"{variable}={value}".encode())
        if not members:
            return
        with contextlib.ExitStack() as stack:
            ends = select.poll()
            waiting = set()
            for process in members:
                with contextlib.suppress(OSError, AttributeError):  # it is gone, or there is no way to wait for it
                    end = os.pidfd_open(process)
                    stack.callback(os.close, end)
                    ends.register(end, select.POLLIN)
                    waiting.add(end)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process, signal.SIGKILL)
            deadline = time.monotonic() + _END_SECONDS
            while waiting and (left := deadline - time.monotonic()) > 0:
                for end, _ in ends.poll(left * 1000):
                    ends.unregister(end)
                    waiting.discard(end)


def _members(mark: bytes) -> list[int]:
    with contextlib.suppress(OSError):  # no such file system, or no descriptor left to read it with
        return [process for process in _find_members(mark) if process != os.getpid()]
    return []


def _find_members(mark: bytes) -> Iterator[int]:
    for directory in _PROC.iterdir():
        if not directory.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # not ours to see, or already gone
            if mark in (directory / "environ").read_bytes().split(b"\0"):
                yield int(directory.name)
