"""What the process fleet costs: a runner's start from zero, a prediction over the link to it, the memory of an idle one.

The link is measured beside a bare request of the same connection class (`POST`, JSON in and out: the direct call), beside httpx,
and beside aiohttp if it is installed; all of them in turn against one runner with a trivial model.

    python benchmarks/runners.py [--rounds N] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from drivetrain.fleets.connection import Connection
from drivetrain.fleets.process import ProcessFleet, ProcessRunner
from drivetrain.model.prediction import PredictionId
from drivetrain.platform.app import AppName, RevisionId
from drivetrain.platform.fleet import BuildOrder, Grant, Job, RunnerId, RunnerOrder
from drivetrain.settings import read_settings

PREDICTOR = """
class Predictor:
    def predict(self, text: str) -> str:
        return text[::-1]
"""

APP = AppName("bench", "reverse")
BODY = {"input": {"text": "hello"}}
STREAM = {"Accept": "text/event-stream", "Prefer": "return=minimal", "Content-Type": "application/json"}
CALLS_PER_ROUND = 300


def main() -> None:
    """Measure, and print tables or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="rounds that are counted")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        results = asyncio.run(measure(Path(directory), arguments.rounds))
    if arguments.json:
        print(json.dumps(results))
        return
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {arguments.rounds} rounds in turn; medians\n")
    print("| part of a start from zero | ms |\n|---|---|")
    for name, milliseconds in results["start"].items():
        print(f"| {name} | {milliseconds:.1f} |")
    print("\n| a prediction over | p50 ms | processor time of the caller, µs |\n|---|---|---|")
    for name, (milliseconds, microseconds) in results["link"].items():
        print(f"| {name} | {milliseconds:.2f} | {microseconds:.0f} |")
    print("\n| memory while idle, proportional | MB |\n|---|---|")
    for name, megabytes in results["memory"].items():
        print(f"| {name} | {megabytes:.0f} |")


async def measure(directory: Path, rounds: int) -> dict[str, Any]:
    """Everything, by table."""
    async with open_fleet(directory) as fleet:
        start = await measure_start(fleet, directory, rounds)
        runner = await new_runner(fleet, directory, "link")
        link = await measure_link(runner, fleet, rounds)
        return {"start": start, "link": link, "memory": memory()}


@contextlib.asynccontextmanager
async def open_fleet(directory: Path) -> AsyncIterator[ProcessFleet]:
    """A fleet, and a project that has been built."""
    source = directory / "source"
    source.mkdir()
    (source / "predict.py").write_text(PREDICTOR)
    version = ".".join(map(str, sys.version_info[:2]))
    (source / "cog.yaml").write_text(f'predict: predict.py:Predictor\nbuild:\n  python_version: "{version}"\n')
    # What is not to be measured: models that write no bytecode compile their imports at each start.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    fleet = ProcessFleet(read_settings(environ), directory / "runners")
    await fleet.open()
    try:
        await fleet.build(BuildOrder(app=APP, revision=RevisionId("r"), source=source), lambda _: None)
        yield fleet
    finally:
        await fleet.aclose()


async def new_runner(fleet: ProcessFleet, directory: Path, name: str) -> ProcessRunner:
    """A runner that is starting."""
    order = RunnerOrder(
        id=RunnerId(name),
        app=APP,
        revision=RevisionId("r"),
        source=directory / "source",
        data=directory / "data",
        grant=Grant(),
        variables={"DRIVETRAIN_SNAPSHOT": "off"},  # what templates of projects spare is measured by templates.py
        files_url="http://127.0.0.1:9/files",
        concurrency=None,
        startup_timeout=timedelta(minutes=1),
    )
    return await fleet.start(order, lambda _: None)


async def measure_start(fleet: ProcessFleet, directory: Path, rounds: int) -> dict[str, float]:
    """Milliseconds of each part, of runners started one after the other."""
    seen: dict[str, list[float]] = {}
    for number in range(rounds + 2):
        begun = time.perf_counter()
        runner = await new_runner(fleet, directory, f"start-{number}")
        ready = await runner.ready()
        ready_after = time.perf_counter() - begun
        await collect(runner, "p")
        answered_after = time.perf_counter() - begun
        await runner.kill()
        if number >= 2:
            parts = {**ready.phases, "from the order to ready": ready_after, "from the order to the first answer": answered_after}
            for name, seconds in parts.items():
                seen.setdefault(name, []).append(seconds * 1000)
    return {name: statistics.median(times) for name, times in seen.items()}


async def collect(runner: ProcessRunner, name: str) -> None:
    """Run a prediction to its end."""
    async for _ in runner.run(Job(id=PredictionId(name), input=BODY["input"])):
        pass


async def measure_link(runner: ProcessRunner, fleet: ProcessFleet, rounds: int) -> dict[str, tuple[float, float]]:
    """Median milliseconds, and microseconds of processor time in this process, of each way to a runner."""
    await runner.ready()
    path = runner.socket
    numbers = iter(range(10**9))
    async with contextlib.AsyncExitStack() as stack:
        ways: dict[str, Callable[[], Awaitable[object]]] = {
            "a bare connection: POST, JSON (the direct call)": await direct(path, stack),
            "the fleet's link: PUT, events": lambda: collect(runner, f"link-{next(numbers)}"),
            "httpx: PUT, events": await over_httpx(path, stack, numbers),
        }
        if importlib.util.find_spec("aiohttp") is not None:
            ways["aiohttp: PUT, events"] = await over_aiohttp(path, stack, numbers)
        seen: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                seen[name].append(await measure_way(way))
    return {name: (statistics.median(a for a, _ in each), statistics.median(b for _, b in each)) for name, each in seen.items()}


async def measure_way(way: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """One round."""
    times = []
    processor = time.process_time()
    for _ in range(CALLS_PER_ROUND):
        begun = time.perf_counter()
        await way()
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e3, (time.process_time() - processor) / CALLS_PER_ROUND * 1e6


async def direct(path: str, stack: contextlib.AsyncExitStack) -> Callable[[], Awaitable[object]]:
    """The least that a call can cost."""
    _, connection = await asyncio.get_running_loop().create_unix_connection(Connection, path)
    stack.callback(connection.close)
    body = json.dumps(BODY).encode()

    async def call() -> object:
        connection.send("POST", "/predictions", {"Content-Type": "application/json"}, body)
        assert await connection.status() == 200
        return await connection.read_all()

    return call


async def over_httpx(path: str, stack: contextlib.AsyncExitStack, numbers: Any) -> Callable[[], Awaitable[object]]:
    """The same request as the link's."""
    client = await stack.enter_async_context(httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=path)))

    async def call() -> object:
        return await client.put(f"http://runner/predictions/httpx-{next(numbers)}", json=BODY, headers=STREAM)

    return call


async def over_aiohttp(path: str, stack: contextlib.AsyncExitStack, numbers: Any) -> Callable[[], Awaitable[object]]:
    """The same request as the link's."""
    import aiohttp

    session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=path)))

    async def call() -> object:
        async with session.put(f"http://runner/predictions/aiohttp-{next(numbers)}", json=BODY, headers=STREAM) as answer:
            return await answer.read()

    return call


def memory() -> dict[str, float]:
    """Proportional memory of the template, and of the runner that is there: its server and its worker."""
    (template,) = children(os.getpid())
    (server,) = children(template)
    (worker,) = children(server)
    return {"the template": resident(template), "a runner's server": resident(server), "its worker": resident(worker)}


def children(pid: int) -> list[int]:
    """Processes started by a process; Linux only."""
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def resident(pid: int) -> float:
    """Megabytes, shared pages counted in part."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


if __name__ == "__main__":
    main()
