"""How long starts take: `drivetrain run` until the model's process starts, and `drivetrain serve` until its first answer.

For `run`, the project's `python` is a small program that notes the time at which it is started and ends. So what is measured is
ours alone: from the start of the command to the start of the worker. A bare interpreter is measured beside it, in turn.

For `serve`, a trivial model is asked until it answers, as in `benchmarks/comparison`, whose machinery this is: ours when the
project has been served before and when nothing is known of it, Cog's newest runtime, a bare ASGI application on uvicorn, in turn.

    python benchmarks/start_up.py [--rounds N] [--json] [--wait-for-idle]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "comparison"))

import process_tree
from running import running
from systems import ASGI, COG, DRIVETRAIN, Command, System, drivetrain_command

RECORDER = '#!/bin/sh\ndate +%s%N > "$RECORD"\n'

PREDICTOR = """
from cog import BasePredictor, Input, Path


class Predictor(BasePredictor):
    def predict(
        self,
        image: Path = Input(description="A picture"),
        scale: float = Input(default=1.5, ge=0, le=4),
        style: str = Input(default="plain", choices=["plain", "fancy"]),
    ) -> Path:
        return image
"""

#: The first ones warm the caches of the operating system, and ours.
_NOT_COUNTED = 2

Times = Mapping[str, list[float]]


def main() -> None:
    """Measure, and print tables or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=21, help="starts of each that are counted")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--wait-for-idle", action="store_true", help="begin each start of a server when nothing else runs, or after 25 s"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory() as caches:
        until_worker = measure_run(Path(directory), arguments.rounds)
        until_answer, used = measure_serve(Path(caches), arguments.rounds, waits=arguments.wait_for_idle)
    if arguments.json:
        print(json.dumps({"until the worker": until_worker, "until the first answer": until_answer, "processor time": used}))
        return
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {arguments.rounds} rounds in turn\n")
    print("| until | median ms | least | most |\n|---|---|---|---|")
    for name, times in until_worker.items():
        print(f"| {name} | {statistics.median(times):.0f} | {min(times):.0f} | {max(times):.0f} |")
    versions = ", ".join(f"{name} {version}" for system in (COG, ASGI) for name, version in system.versions().items())
    cog = statistics.median(until_answer[COG.name])
    print(f"\nBeside: {versions}\n")
    print("| until the first answer | median ms | least | most | ratio to Cog | processor time, ms |\n|---|---|---|---|---|---|")
    for name, times in until_answer.items():
        median = statistics.median(times)
        extent = f"{median:.0f} | {min(times):.0f} | {max(times):.0f}"
        print(f"| {name} | {extent} | {median / cog:.2f} | {statistics.median(used[name]):.0f} |")


def measure_run(directory: Path, rounds: int) -> Times:
    """Milliseconds of every counted round until the worker starts, by what was measured."""
    environ = prepare(directory)
    measured: Mapping[str, Callable[[], float]] = {
        "a bare interpreter has run": time_bare,
        "drivetrain run starts the worker": lambda: time_run(directory, environ),
    }
    results: Times = {name: [] for name in measured}
    for number in range(rounds + _NOT_COUNTED):
        for name, measure in measured.items():
            milliseconds = measure()
            if number >= _NOT_COUNTED:
                results[name].append(milliseconds)
    return results


def prepare(directory: Path) -> dict[str, str]:
    """A project and a `python` that records when it is started."""
    (directory / "predict.py").write_text(PREDICTOR)
    (directory / "cog.yaml").write_text('build:\n  python_version: "3.11"\npredict: predict.py:Predictor\n')
    (directory / "photo.jpg").write_bytes(b"")
    program = directory / "bin" / "python"
    program.parent.mkdir()
    program.write_text(RECORDER)
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "RECORD": str(directory / "started")}


def time_bare() -> float:
    """Milliseconds of an interpreter that does nothing."""
    began = time.time_ns()
    subprocess.run([sys.executable, "-c", ""], check=True)
    return (time.time_ns() - began) / 1e6


def time_run(directory: Path, environ: dict[str, str]) -> float:
    """Milliseconds from the start of the command to the start of the worker."""
    command = [Path(sys.executable).parent / "drivetrain", "run", "--env", "host", "-i", "image=@photo.jpg", "-i", "scale=2"]
    began = time.time_ns()
    subprocess.run(command, cwd=directory, env=environ, check=False, capture_output=True)
    return (int((directory / "started").read_text()) - began) / 1e6


def measure_serve(directory: Path, rounds: int, *, waits: bool) -> tuple[Times, Times]:
    """Milliseconds of every counted round until the first answer, and of processor time, by system."""
    first = replace(DRIVETRAIN, name="drivetrain, nothing known of the project", command=_in_new_cache(directory))
    systems = (DRIVETRAIN, first, COG, ASGI)
    times: Times = {system.name: [] for system in systems}
    used: Times = {system.name: [] for system in systems}
    for number in range(rounds + _NOT_COUNTED):
        for system in systems if number % 2 else reversed(systems):
            if waits:
                _wait_for_idle()
            milliseconds, processor = _time_serve(system)
            if number >= _NOT_COUNTED:
                times[system.name].append(milliseconds)
                used[system.name].append(processor)
    return times, used


def _time_serve(system: System) -> tuple[float, float]:
    with running(system, "trivial", 8) as server:
        return server.start_seconds * 1e3, process_tree.cpu_seconds(server.process) * 1e3


def _wait_for_idle() -> None:
    """Wait until the machine's cores have done next to nothing for a quarter of a second, but not for ever."""
    deadline = time.monotonic() + 25
    is_idle = False
    while not is_idle and time.monotonic() < deadline:
        idle, total = _processor_times()
        time.sleep(0.25)
        idle_now, total_now = _processor_times()
        is_idle = idle_now - idle > 0.93 * (total_now - total)


def _processor_times() -> tuple[int, int]:
    times = [int(ticks) for ticks in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return times[3] + times[4], sum(times)


def _in_new_cache(directory: Path) -> Callable[[str, int, int, Path], Command]:
    def command(model: str, concurrency: int, port: int, programs: Path) -> Command:
        known = drivetrain_command(model, concurrency, port, programs)
        cache = tempfile.mkdtemp(dir=directory)
        return replace(known, variables={**known.variables, "DRIVETRAIN_CACHE_DIR": cache})

    return command


if __name__ == "__main__":
    main()
