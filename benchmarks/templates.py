"""How long a worker takes until it is ready, started and forked from a template, and what several of them take of memory.

Measured as a model server sees it: from the order to start a worker to its frame that says ready. Started and forked workers take
turns. A project whose libraries the interpreter does not have is left out, and named.

    python benchmarks/templates.py [--python PYTHON] [--rounds N] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from drivetrain.environments.environment import Environment
from drivetrain.model.project import EnvironmentSpec, Mode, Project, Reference
from drivetrain.serving.launch import WorkerCommand
from drivetrain.serving.supervisor import ForkSource, ModelState, Supervisor, SupervisorHooks, SupervisorOptions
from drivetrain.serving.template_keeper import DoorSource, TemplateKeeper
from drivetrain.serving.template_snapshot import Snapshot

#: Each project: what it imports, and what its set-up does.
PROJECTS: Mapping[str, tuple[str, str]] = {
    "no libraries": ("", "pass"),
    "numpy": ("numpy", "pass"),
    "torch": ("torch", "pass"),
    "torch, 200 MB of weights made in 1 s": ("torch", "time.sleep(1); self.weights = torch.ones(50 * 1024 * 1024)"),
}

SOURCE = """
import time
{imports}

class Predictor:
    def setup(self):
        {setup}

    def predict(self) -> int:
        return 1
"""


def main() -> None:
    """Measure, and print tables or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", default=sys.executable, help="the interpreter that the projects run in")
    parser.add_argument("--rounds", type=int, default=9, help="starts of each kind that are counted")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        results = asyncio.run(measure(Path(directory), arguments.python, arguments.rounds))
    if arguments.json:
        print(json.dumps(results))
        return
    print(f"{os.cpu_count()} cores, {arguments.rounds} rounds in turn; ready after milliseconds, median (least to most)\n")
    print("| project | started | forked after imports | forked after set-up |\n|---|---|---|---|")
    for name, result in results.items():
        print(f"| {name} | " + " | ".join(shown(result["milliseconds"][kind]) for kind in KINDS) + " |")
    print("\nMemory of four workers, MB, template included (proportional set size)\n")
    print(
        "| project | one, started | four, started | four, forked after imports | four, forked after set-up |\n|---|---|---|---|---|"
    )
    for name, result in results.items():
        print(f"| {name} | " + " | ".join(f"{result['megabytes'][kind]:.0f}" for kind in ("one", *KINDS)) + " |")


KINDS = ("off", "imports", "after-setup")


def shown(times: list[float]) -> str:
    """A cell of the table."""
    return f"{statistics.median(times):.0f} ({min(times):.0f} to {max(times):.0f})"


async def measure(directory: Path, python: str, rounds: int) -> dict[str, dict]:
    """Milliseconds of each counted start and megabytes, by project and kind."""
    results = {}
    for number, (name, (module, setup)) in enumerate(PROJECTS.items()):
        if module and not has(python, module):
            print(f"{name}: left out, since '{python}' has no {module}", file=sys.stderr)
            continue
        bench = Bench(make_command(directory / str(number), python, module, setup), directory / "imports")
        await bench.learn()
        times: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for turn in range(rounds + 1):
            for kind in KINDS:
                milliseconds = await bench.start(kind)
                if turn:  # the first one warms the caches of the operating system
                    times[kind].append(milliseconds)
        megabytes = {"one": await bench.memory("off", 1), **{kind: await bench.memory(kind, 4) for kind in KINDS}}
        results[name] = {"milliseconds": times, "megabytes": megabytes}
        await bench.keeper.aclose()
    return results


def has(python: str, module: str) -> bool:
    """Whether an interpreter can import a module."""
    return subprocess.run([python, "-c", f"import {module}"], check=False, capture_output=True).returncode == 0


def make_command(root: Path, python: str, module: str, setup: str) -> WorkerCommand:
    """A project, and how its workers are started."""
    root.mkdir()
    (root / "predict.py").write_text(SOURCE.format(imports=f"import {module}" if module else "", setup=setup))
    (root / "cog.yaml").write_text("predict: predict.py:Predictor\n")
    project = Project(
        root=root,
        dialect="cog",
        config_file=root / "cog.yaml",
        environment=EnvironmentSpec(root=root),
        predict=Reference(file="predict.py", name="Predictor"),
    )
    environment = Environment(python=Path(python).absolute(), directory=None, variables={})
    return WorkerCommand(project=project, environment=environment, environ=dict(os.environ), mode=Mode.PREDICT)


class Bench:
    """Starts workers of one project."""

    def __init__(self, command: WorkerCommand, directory: Path) -> None:
        self.command = command
        self.directory = directory
        self.keeper = self.new_keeper()

    def new_keeper(self) -> TemplateKeeper:
        """One that ends the measurement if the project cannot have a template."""
        return TemplateKeeper(self.directory, tell=lambda text: sys.exit(f"error: {text}"))

    async def learn(self) -> None:
        """Have it known what the project imports."""
        known = len(list(self.directory.glob("*.json")))
        supervisor = Supervisor(self.command, SupervisorOptions(), SupervisorHooks(), self.source(None, Snapshot.IMPORTS))
        supervisor.start()
        await supervisor.ready()
        while len(list(self.directory.glob("*.json"))) == known:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)
        await supervisor.stop(timedelta(seconds=5))

    async def start(self, kind: str) -> float:
        """Start a worker and end it; milliseconds until it was ready."""
        supervisor, milliseconds = await self.serve(kind, 1)
        await supervisor.stop(timedelta(seconds=5))
        return milliseconds

    async def memory(self, kind: str, workers: int) -> float:
        """Megabytes that so many workers take, and their template."""
        await self.keeper.aclose()
        self.keeper = self.new_keeper()
        supervisor, _ = await self.serve(kind, workers)
        while supervisor.free_slots < workers:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)
        megabytes = sum(proportional_megabytes(process) for process in descendants(os.getpid()))
        await supervisor.stop(timedelta(seconds=5))
        return megabytes

    async def serve(self, kind: str, workers: int) -> tuple[Supervisor, float]:
        """A supervisor with workers, and how long the first took to be ready."""
        source = None if kind == "off" else self.source(await self.door(Snapshot(kind)), Snapshot(kind))
        supervisor = Supervisor(self.command, SupervisorOptions(workers=workers), SupervisorHooks(), source)
        began = time.perf_counter()
        supervisor.start()
        await supervisor.ready()
        milliseconds = (time.perf_counter() - began) * 1000
        assert supervisor.state is ModelState.READY, supervisor.setup.logs
        return supervisor, milliseconds

    async def door(self, snapshot: Snapshot) -> socket.socket:
        """A way to a template that is ready."""
        while (door := await self.keeper.door(self.command, snapshot)) is None:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)
        return door

    def source(self, door: socket.socket | None, snapshot: Snapshot) -> ForkSource:
        """Where a supervisor has its workers from."""
        return DoorSource(door, self.command, self.directory, snapshot=snapshot, tell=lambda text: sys.exit(f"error: {text}"))


def descendants(process: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    children = [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return [each for child in children for each in (child, *descendants(child))]


def proportional_megabytes(process: int) -> float:
    """Memory of a process, what it shares divided among those who share it."""
    found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{process}/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    main()
