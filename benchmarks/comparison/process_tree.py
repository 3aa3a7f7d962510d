"""What a process and its descendants take of the machine, as Linux counts it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Memory of all processes of a tree, in MB of 10^6 bytes.

    Attributes:
        resident: Pages in memory; those that processes share are counted for each of them.
        proportional: The same, each shared page divided among those that share it.
    """

    resident: float
    proportional: float


def processes(root: int) -> list[int]:
    """A process and its descendants that are alive."""
    children: dict[int, list[int]] = {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and (fields := _stat(int(directory.name))):
            children.setdefault(int(fields[1]), []).append(int(directory.name))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


def cpu_seconds(root: int) -> float:
    """Processor time that the living processes of a tree, and the dead ones that they waited for, have used."""
    return sum(sum(map(int, fields[11:15])) for process in processes(root) if (fields := _stat(process))) / _TICKS


def memory(root: int) -> Memory:
    """What a tree holds now."""
    resident = proportional = 0
    for process in processes(root):
        for line in _read(process, "smaps_rollup").splitlines():
            if line.startswith("Rss:"):
                resident += int(line.split()[1])
            elif line.startswith("Pss:"):
                proportional += int(line.split()[1])
    return Memory(resident=resident * 1024 / 1e6, proportional=proportional * 1024 / 1e6)


def handles(root: int) -> tuple[int, int]:
    """How many descriptors and threads a tree has."""
    descriptors = threads = 0
    for process in processes(root):
        try:
            descriptors += sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())
            threads += sum(1 for _ in Path(f"/proc/{process}/task").iterdir())
        except FileNotFoundError:
            continue  # it has ended meanwhile
    return descriptors, threads


def _stat(process: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` from the state on; the name before them may hold anything."""
    return _read(process, "stat").rpartition(")")[2].split()


def _read(process: int, name: str) -> str:
    try:
        return Path(f"/proc/{process}/{name}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
