"""What is measured. Each scenario measures one system once; the rounds and their order are somebody else's affair."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import process_tree
from load import stream, wrk
from running import Server, running
from systems import COG, LEAST_BYTES, ROOT, TOKENS, System, make_environment

#: Values of one measurement by the name of the figure.
Figures = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One thing to measure.

    Attributes:
        name: As the tables have it.
        model: What is served, if a server is measured.
        measure: Measures a system once.
        is_quick: Whether it belongs to the subset that is used while working.
    """

    name: str
    model: str
    measure: Callable[[System], Figures]
    is_quick: bool = False

    def suits(self, system: System) -> bool:
        """Whether the system can do it."""
        return self.model in system.models


@dataclass(frozen=True)
class Pace:
    """How long a load lasts, and how long the one before it that nobody counts."""

    seconds: float = 4.0
    warm_up: float = 1.0


def scenarios(pace: Pace) -> list[Scenario]:
    """All of them, in the order of the tables."""
    quick_clients = (1, 32)
    return [
        *(
            Scenario(
                name=f"trivial, {_clients(count)}",
                model="trivial",
                measure=_load("trivial", count, pace),
                is_quick=count in quick_clients,
            )
            for count in (1, 8, 32, 256)
        ),
        Scenario(name="synchronous, 1 client", model="synchronous", measure=_load("synchronous", 1, pace)),
        *(
            Scenario(name=f"sleep of 10 ms, {_clients(count)}", model="sleep", measure=_load("sleep", count, pace))
            for count in (1, 8, 32, 256)
        ),
        *(
            Scenario(
                name=f"stream of {TOKENS} tokens, {_clients(count)}",
                model="stream",
                measure=_stream(count, pace),
                is_quick=count in quick_clients,
            )
            for count in (1, 8, 32)
        ),
        Scenario(
            name=f"stream of {TOKENS} tokens, 1 client, a connection for each",
            model="stream",
            measure=_stream(1, pace, keeps_alive=False),
            is_quick=True,
        ),
        *(Scenario(name=f"1 MB input, {_clients(count)}", model="large", measure=_load("large", count, pace)) for count in (1, 8)),
        *(Scenario(name=f"1 MB text, {_clients(count)}", model="text", measure=_load("text", count, pace)) for count in (1, 8)),
        *(
            Scenario(name=f"10 MB file, {_clients(count)}", model="file", measure=_load("file", count, pace), is_quick=count == 4)
            for count in (1, 4)
        ),
        Scenario(name="start and memory", model="trivial", measure=_start, is_quick=True),
        Scenario(name="installation", model="trivial", measure=_installation),
    ]


def _clients(count: int) -> str:
    return "1 client" if count == 1 else f"{count} clients"


def _load(model: str, clients: int, pace: Pace) -> Callable[[System], Figures]:
    def measure(system: System) -> Figures:
        with running(system, model, _concurrency(clients)) as server:
            wrk(server.port, server.request, clients=clients, seconds=pace.warm_up)
            with _cpu(server) as cpu:
                load = wrk(server.port, server.request, clients=clients, seconds=pace.seconds)
            if load.received < load.answered * LEAST_BYTES.get(model, 0):
                raise RuntimeError(f"{load.answered} answers had {load.received} bytes in all: some were cut short")
            return {
                "per second": load.per_second,
                "p50 ms": load.p50,
                "p99 ms": load.p99,
                "CPU µs": cpu[0] / max(1, load.answered) * 1e6,
                "failed": load.failed,
            }

    return measure


def _stream(clients: int, pace: Pace, *, keeps_alive: bool = True) -> Callable[[System], Figures]:
    def measure(system: System) -> Figures:
        with running(system, "stream", _concurrency(clients)) as server:
            ask = (server.port, server.request, system.token, TOKENS)
            stream(*ask, clients=clients, seconds=pace.warm_up, keeps_alive=keeps_alive)
            with _cpu(server) as cpu:
                told = stream(*ask, clients=clients, seconds=pace.seconds, keeps_alive=keeps_alive)
            return {
                "tokens per second": told.tokens_per_second,
                "first token p50 ms": told.first_token_p50,
                "first token p99 ms": told.first_token_p99,
                "whole p50 ms": told.whole_p50,
                "CPU µs per token": cpu[0] / max(1, told.finished * TOKENS) * 1e6,
                "failed": told.failed,
            }

    return measure


def _start(system: System) -> Figures:
    with running(system, "trivial", 8) as server:
        held = process_tree.memory(server.process)
        return {
            "start to first answer s": server.start_seconds,
            "resident MB": held.resident,
            "proportional MB": held.proportional,
        }


def _installation(system: System) -> Figures:
    """What is installed for the system, and what the import of the module costs that a model is written with."""
    programs = system.install()
    if system.packages:
        return {"installed MB": _size(programs.parent) / 1e6, "import ms": _import_seconds(programs, system.imports, "") * 1e3}
    ours = ROOT / "src" / "drivetrain_worker" / "authoring"  # nothing is installed for the model: the worker brings the module
    environment = make_environment("drivetrain", (str(ROOT),))
    return {"installed MB": _size(environment) / 1e6, "import ms": _import_seconds(programs, COG.imports, str(ours)) * 1e3}


def _import_seconds(programs: Path, imports: str, path: str) -> float:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    variables |= {"PYTHONPATH": path} if path else {}

    def run(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([programs / "python", "-c", code], check=True, env=variables, capture_output=True)
        return time.perf_counter() - began

    run(imports)  # writes the bytecode
    return statistics.median(run(imports) - run("") for _ in range(5))


def _size(directory: Path) -> int:
    return sum(file.lstat().st_size for file in directory.rglob("*") if file.is_file() and not file.is_symlink())


def _concurrency(clients: int) -> int:
    """Predictions at once that a server is set up for: more than there are clients, as slots may become free after the answer."""
    return max(8, 2 * clients)


@contextlib.contextmanager
def _cpu(server: Server) -> Iterator[list[float]]:
    """Processor seconds that all processes of a server use in the block."""
    used: list[float] = []
    before = process_tree.cpu_seconds(server.process)
    yield used
    used.append(process_tree.cpu_seconds(server.process) - before)
