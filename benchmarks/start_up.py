"""How long `drivetrain run` takes until the model's process starts, for a project whose environment is there.

The project's `python` is a small program that notes the time at which it is started and ends. So what is measured is ours alone:
from the start of the command to the start of the worker. A bare interpreter is measured beside it, in turn.

    python benchmarks/start_up.py [--rounds N] [--json]
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
from pathlib import Path

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


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=21, help="runs of each that are counted")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        results = measure(Path(directory), arguments.rounds)
    if arguments.json:
        print(json.dumps(results))
        return
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {arguments.rounds} rounds in turn\n")
    print("| until | median ms | least | most |\n|---|---|---|---|")
    for name, times in results.items():
        print(f"| {name} | {statistics.median(times):.0f} | {min(times):.0f} | {max(times):.0f} |")


def measure(directory: Path, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every counted round, by what was measured."""
    environ = prepare(directory)
    results: dict[str, list[float]] = {"a bare interpreter has run": [], "drivetrain run starts the worker": []}
    for number in range(rounds + 2):
        bare = time_bare()
        ours = time_run(directory, environ)
        if number >= 2:  # the first ones warm the caches of the operating system
            results["a bare interpreter has run"].append(bare)
            results["drivetrain run starts the worker"].append(ours)
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


if __name__ == "__main__":
    main()
