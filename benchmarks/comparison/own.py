"""What only drivetrain is asked: does it scale with workers, carry a thousand predictions, gain by batches, keep clients apart?"""

from __future__ import annotations

import os
import statistics
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

import slow_clients
from load import Load, wrk
from running import Server, running
from scenarios import Figures, Pace
from systems import DRIVETRAIN, System, drivetrain_command


def measure(pace: Pace, rounds: int) -> dict[str, Figures]:
    """Medians of some rounds, by what was measured."""
    results: dict[str, list[Figures]] = {}
    for number in range(rounds):
        for name, once in _MEASUREMENTS.items():
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
            results.setdefault(name, []).append(once(pace))
    return {name: {key: statistics.median(each[key] for each in told) for key in told[0]} for name, told in results.items()}


def _workers(pace: Pace) -> Figures:
    cores = os.cpu_count() or 1
    one = _run(_with("--workers", "1", "--queue", "100"), "busy", 2, pace)
    all_ = _run(_with("--workers", str(cores), "--queue", "100"), "busy", 2 * cores, pace)
    return {
        "per second with 1 worker": one.per_second,
        f"per second with {cores}": all_.per_second,
        "gain for each": all_.per_second / one.per_second / cores,
        "failed": one.failed + all_.failed,
    }


def _thousand(pace: Pace) -> Figures:
    load = _run(DRIVETRAIN, "sleep", 1000, pace)
    return {"per second": load.per_second, "p50 ms": load.p50, "p99 ms": load.p99, "failed": load.failed}


def _batches(pace: Pace) -> Figures:
    together = _run(_with("--queue", "100"), "batch", 32, pace)
    alone = _run(_with("--queue", "100"), "unbatched", 32, pace)
    return {
        "per second in batches": together.per_second,
        "per second one by one": alone.per_second,
        "gain": together.per_second / alone.per_second,
        "failed": together.failed + alone.failed,
    }


def _slow_clients(pace: Pace) -> Figures:
    with running(DRIVETRAIN, "trivial", 512) as server, running(DRIVETRAIN, "trivial", 64) as another:
        wrk(server.port, server.request, clients=4, seconds=pace.warm_up)
        alone = wrk(server.port, server.request, clients=4, seconds=pace.seconds)
        beside = _disturbed(server, server.port, pace)
        elsewhere = _disturbed(server, another.port, pace)
    return {
        "p99 alone ms": alone.p99,
        "p99 beside them ms": beside.p99,
        "p99 while they ask another server ms": elsewhere.p99,  # what they take of the machine, not of the server
        "failed": alone.failed + beside.failed + elsewhere.failed,
    }


def _disturbed(server: Server, disturbed_port: int, pace: Pace) -> Load:
    stop = threading.Event()
    others = threading.Thread(target=slow_clients.disturb, args=(disturbed_port, stop))
    others.start()
    try:
        return wrk(server.port, server.request, clients=4, seconds=pace.seconds)
    finally:
        stop.set()
        others.join()


def _run(system: System, model: str, clients: int, pace: Pace) -> Load:
    with running(system, model, max(8, 2 * clients)) as server:
        wrk(server.port, server.request, clients=clients, seconds=pace.warm_up)
        return wrk(server.port, server.request, clients=clients, seconds=pace.seconds)


def _with(*options: str) -> System:
    return replace(DRIVETRAIN, command=lambda *place: drivetrain_command(*place, options=options))


_MEASUREMENTS: Mapping[str, Callable[[Pace], Figures]] = {
    "a synchronous model that computes for 5 ms": _workers,
    "an async model that sleeps 10 ms, 1000 clients": _thousand,
    "a model that takes 10 ms for up to 16 inputs, 32 clients": _batches,
    "a trivial model, 4 clients, beside 61 that are slow or send much": _slow_clients,
}
