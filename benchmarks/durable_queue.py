"""How fast the durable queue is: submissions, whole jobs, and claims from queues of many lengths.

Rounds of what is compared are run in turn. A *plain insert* is one row and one commit, with the same durability, by as many threads
with connections of their own. A *job* is a submission, a claim and a completion: three transactions.

    python benchmarks/durable_queue.py [--seconds N] [--rounds N] [--longest N] [--directory DIR] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from drivetrain.model.prediction import Completed, Output, OutputValue, PredictionId, Started, Status
from drivetrain.platform.app import AppName, RevisionId
from drivetrain.platform.ids import Ids
from drivetrain.platform.queue import Claimant, Outcome, Submission
from drivetrain.platform.store import Store
from drivetrain.stores.sqlite import open_store

CLIENTS = (1, 8, 32)
LENGTHS = (100, 10_000, 1_000_000)
APP = AppName("bench", "queue")
REVISION = RevisionId("f" * 64)
IDS = Ids(os.urandom)


def main() -> None:
    """Measure, and print tables or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=2, help="how long each round of a load lasts")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each load")
    parser.add_argument("--longest", type=int, default=LENGTHS[-1], help="the longest queue to claim from")
    parser.add_argument("--directory", type=Path, help="where to put the databases (default: the directory for temporary files)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        loads = measure_loads(Path(directory), arguments.seconds, arguments.rounds)
        claims = asyncio.run(measure_claims(Path(directory), [length for length in LENGTHS if length <= arguments.longest]))
    if arguments.json:
        print(json.dumps({"loads": loads, "claims": claims}))
        return
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores\n")
    print("| per second, median of rounds | " + " | ".join(f"{clients} clients" for clients in CLIENTS) + " |")
    print("|---|" + "---|" * len(CLIENTS))
    for name, rates in loads.items():
        print(f"| {name} | " + " | ".join(f"{rate:,.0f}" for rate in rates) + " |")
    print("\n| waiting | claim p50 ms | p99 ms | submit p50 ms | position p50 ms | load p50 ms |\n|---|---|---|---|---|---|")
    for length, figures in claims.items():
        print(f"| {length:,} | " + " | ".join(f"{figure:.2f}" for figure in figures) + " |")


def measure_loads(directory: Path, seconds: float, rounds: int) -> dict[str, list[float]]:
    """Operations per second of each kind, by the number of clients."""
    kinds: dict[str, Callable[[Path, int, float], float]] = {
        "plain insert, a commit each": plain_inserts,
        "submission": lambda path, clients, duration: asyncio.run(drive(path, clients, duration, submit_once)),
        "job": lambda path, clients, duration: asyncio.run(drive(path, clients, duration, job_once)),
    }
    results: dict[str, list[float]] = {name: [] for name in kinds}
    for clients in CLIENTS:
        measured: dict[str, list[float]] = {name: [] for name in kinds}
        for number, (name, kind) in itertools.product(range(rounds), kinds.items()):
            measured[name].append(kind(directory / f"{name} {clients} {number}.db", clients, seconds))
        for name, rates in measured.items():
            results[name].append(statistics.median(rates))
    return results


def plain_inserts(path: Path, clients: int, seconds: float) -> float:
    """Threads that insert a row and commit, again and again; rows per second."""
    connect(path).execute("CREATE TABLE plain (id TEXT PRIMARY KEY, input BLOB NOT NULL)")
    counts = [0] * clients
    ends_at = time.monotonic() + seconds

    def work(client: int) -> None:
        connection = connect(path)
        while time.monotonic() < ends_at:
            connection.execute("INSERT INTO plain VALUES (?, ?)", (IDS.prediction(), b'{"text": "hello"}'))
            counts[client] += 1

    threads = [threading.Thread(target=work, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def connect(path: Path) -> sqlite3.Connection:
    """A connection that commits each statement durably."""
    connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


async def drive(path: Path, clients: int, seconds: float, once: Callable[[Store], Awaitable[None]]) -> float:
    """Tasks that do something to a store, again and again; times per second."""
    store = await open_store(path)
    counts = [0] * clients
    ends_at = time.monotonic() + seconds

    async def work(client: int) -> None:
        while time.monotonic() < ends_at:
            await once(store)
            counts[client] += 1

    await asyncio.gather(*map(work, range(clients)))
    await store.close()
    return sum(counts) / seconds


async def submit_once(store: Store) -> None:
    """Accept a prediction."""
    await store.queue.submit(new_submission(), queue_limit=10_000_000)


async def job_once(store: Store) -> None:
    """Accept a prediction, claim one, complete it."""
    await submit_once(store)
    now = datetime.now(timezone.utc)
    for claim in await store.queue.claim(
        REVISION, Claimant(runner="runner", lease_until=now + timedelta(minutes=1)), limit=1, now=now
    ):
        events = (Started(at=now), Output(output=OutputValue(value="olleh")), Completed(status=Status.SUCCEEDED, at=now))
        await store.queue.complete(claim.token, Outcome(status=Status.SUCCEEDED, completed_at=now, started_at=now, events=events))


def new_submission() -> Submission:
    """A small prediction."""
    return Submission(
        id=PredictionId(IDS.prediction()),
        app=APP,
        revision=REVISION,
        created_at=datetime.now(timezone.utc),
        input={"text": "hello"},
        caller="key",
        fingerprint="0" * 64,
    )


async def measure_claims(directory: Path, lengths: list[int]) -> dict[int, list[float]]:
    """Milliseconds of single operations, one at a time, while so many wait."""
    store = await open_store(directory / "claims.db")
    results: dict[int, list[float]] = {}
    waiting = 0
    for length in lengths:
        for _ in range(0, length - waiting, 1000):
            await asyncio.gather(*(submit_once(store) for _ in range(min(1000, length - waiting))))
            waiting += min(1000, length - waiting)
        claims, submits, positions, loads = [], [], [], []
        for _ in range(200):
            submission = new_submission()
            submits.append(await timed(store.queue.submit(submission, queue_limit=10_000_000)))
            positions.append(await timed(store.queue.position(submission.id)))
            now = datetime.now(timezone.utc)
            loads.append(await timed(store.queue.load(now=now)))
            claimant = Claimant(runner="runner", lease_until=now + timedelta(minutes=1))
            claims.append(await timed(store.queue.claim(REVISION, claimant, limit=1, now=now)))
        figures = (submits, positions, loads)
        results[length] = [statistics.median(claims), statistics.quantiles(claims, n=100)[98], *map(statistics.median, figures)]
    await store.close()
    return results


async def timed(operation: Awaitable[object]) -> float:
    """Milliseconds that something takes."""
    began = time.perf_counter()
    await operation
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
