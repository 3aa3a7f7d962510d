"""What a platform costs: against a direct call of the model server, against its store alone, from zero, at rest, and with a crowd.

Everything runs through the public door: ``drivetrain up``, ``deploy``, HTTP. What is compared is measured in turn, several rounds.

    python benchmarks/whole_platform.py [--rounds N] [--seconds N] [--readers N] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import platform
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "comparison"))

import durable_queue
import process_tree
from load import Request, wrk

DRIVETRAIN = str(Path(sys.executable).parent / "drivetrain")

CONFIG = 'build:\n  python_version: "{version}"\npredict: predict.py:Predictor\n'

ECHO = """
from cog import BasePredictor


class Predictor(BasePredictor):
    async def predict(self, text: str) -> str:
        return text[::-1]
"""

STREAM = """
import asyncio

from cog import BasePredictor, ConcatenateIterator


class Predictor(BasePredictor):
    async def predict(self, tokens: int, pause: float) -> ConcatenateIterator[str]:
        await asyncio.sleep(2)  # until all readers are there
        for number in range(tokens):
            yield f"t{number} "
            await asyncio.sleep(pause)
"""

APP = "bench/echo"
CREATE = f"/v1/models/{APP}/predictions"
TOKENS = 100


@dataclass(frozen=True, kw_only=True)
class Platform:
    """A platform that runs."""

    port: int
    key: str
    process: int
    environ: dict[str, str]

    def command(self, *arguments: str, directory: Path | None = None) -> None:
        """Run a command of the product against it."""
        subprocess.run([DRIVETRAIN, *arguments], cwd=directory, env=self.environ, check=True, capture_output=True)

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> dict:
        """One request; its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            text = json.dumps(body) if body is not None else None
            connection.request(method, path, text, {"Content-Type": "application/json", **self.headers, **headers})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{method} {path}: {answer.status} {content[:300]!r}")
            return json.loads(content)
        finally:
            connection.close()

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"Authorization": f"Bearer {self.key}"}

    def runners(self) -> list:
        """Its runners."""
        return self.ask("GET", "/api/v1/runners")["results"]


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds of what is compared")
    parser.add_argument("--seconds", type=float, default=3, help="how long each round of a load lasts")
    parser.add_argument("--readers", type=int, default=1000, help="how many follow one stream at once")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, started(Path(directory)) as (it, direct):
        results = {
            **overhead(it, direct, arguments.rounds, arguments.seconds),
            **from_zero(it, arguments.rounds),
            **submissions(it, Path(directory), arguments.rounds, arguments.seconds),
            **crowd(it, arguments.readers),
            **at_rest(it),
        }
    if arguments.json:
        print(json.dumps(results))
        return
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {arguments.rounds} rounds in turn, medians\n")
    print("| what | |\n|---|---|")
    for name, figure in results.items():
        print(f"| {name} | {figure:,.2f} |" if figure < 100 else f"| {name} | {figure:,.0f} |")


@contextlib.contextmanager
def started(directory: Path) -> Iterator[tuple[Platform, int]]:
    """A platform with two apps, and the first one's project served directly; the direct server's port."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environ = {**variables, "HOME": str(directory), "DRIVETRAIN_CACHE_DIR": str(directory / "cache")}
    projects = {"echo": ECHO, "stream": STREAM}
    for name, code in projects.items():
        (directory / name).mkdir()
        (directory / name / "cog.yaml").write_text(CONFIG.format(version=".".join(platform.python_version_tuple()[:2])))
        (directory / name / "predict.py").write_text(code)
    log = (directory / "log").open("wb")
    up = [DRIVETRAIN, "up", "--state", str(directory / "state"), "--port", "0"]
    with subprocess.Popen(up, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=directory) as process:
        try:
            key, port = wait_until_up(process, log)
            it = Platform(port=port, key=key, process=process.pid, environ=environ)
            for name in projects:
                it.command("deploy", "--name", f"bench/{name}", "--concurrency", "1000", directory=directory / name)
            with served(directory / "echo", environ, log) as direct:
                yield it, direct
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def wait_until_up(process: subprocess.Popen, log) -> tuple[str, int]:
    """The key that a platform prints and the port that it listens on; what it says later goes to the log."""
    key = re.search(r"dt_\w+", process.stdout.readline().decode())[0]
    for line in process.stderr:
        if found := re.search(rb"Listening on http://127\.0\.0\.1:(\d+)", line):
            drain(process.stderr, log)
            return key, int(found[1])
    raise RuntimeError("the platform did not start")


def drain(stream, log) -> None:
    """Keep reading, so that nobody blocks."""
    import shutil
    import threading

    threading.Thread(target=shutil.copyfileobj, args=(stream, log), daemon=True).start()


@contextlib.contextmanager
def served(project: Path, environ: dict[str, str], log) -> Iterator[int]:
    """The project behind ``drivetrain serve``; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [DRIVETRAIN, "serve", "--port", str(port)]
    with subprocess.Popen(command, cwd=project, env={**environ, "COG_MAX_CONCURRENCY": "1000"}, stdout=log, stderr=log) as process:
        try:
            for _ in range(1000):
                with contextlib.suppress(OSError, http.client.HTTPException):
                    connection = http.client.HTTPConnection("127.0.0.1", port)
                    connection.request("POST", "/predictions", '{"input": {"text": "x"}}', {"Content-Type": "application/json"})
                    if connection.getresponse().status == 200:
                        break
                time.sleep(0.02)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def overhead(it: Platform, direct: int, rounds: int, seconds: float) -> dict[str, float]:
    """A warm synchronous prediction, one client, through the platform and directly."""
    body = b'{"input": {"text": "hello"}}'
    through = Request(path=CREATE, body=body, headers={**it.headers, "Prefer": "wait"})
    straight = Request(path="/predictions", body=body)
    times: dict[str, list[float]] = {"platform": [], "direct": []}
    for _ in range(rounds):
        times["direct"].append(wrk(direct, straight, clients=1, seconds=seconds).p50)
        load = wrk(it.port, through, clients=1, seconds=seconds)
        if load.failed:
            raise RuntimeError(f"{load.failed} predictions failed")
        times["platform"].append(load.p50)
    one, other = statistics.median(times["platform"]), statistics.median(times["direct"])
    return {
        "warm synchronous prediction through the platform, p50 ms": one,
        "the same directly, p50 ms": other,
        "overhead, ms": one - other,
        "ratio": one / other,
    }


def from_zero(it: Platform, rounds: int) -> dict[str, float]:
    """From the request to the answer when no runner is there."""
    it.command("scale", APP, "--keep-alive", "0.2")
    times = []
    for _ in range(rounds):
        while any(runner["app"] == APP for runner in it.runners()):
            time.sleep(0.05)
        began = time.perf_counter()
        answer = it.ask("POST", CREATE, {"input": {"text": "hello"}}, Prefer="wait")
        times.append((time.perf_counter() - began) * 1e3)
        if answer["output"] != "olleh":
            raise RuntimeError(f"a wrong answer: {answer}")
    it.command("scale", APP, "--keep-alive", "60")
    return {"from zero, request to answer, ms": statistics.median(times), "the slowest of these, ms": max(times)}


def submissions(it: Platform, directory: Path, rounds: int, seconds: float) -> dict[str, float]:
    """Accepted and durable submissions at 32 clients, and what the store alone takes of them."""
    it.command("scale", APP, "--max", "0", "--min", "0", "--queue-limit", "10000000")
    request = Request(path=CREATE, body=b'{"input": {"text": "hello"}}', headers=it.headers)
    rates: dict[str, list[float]] = {"platform": [], "store": [], "plain": []}
    for number in range(rounds):
        load = wrk(it.port, request, clients=32, seconds=seconds)
        if load.failed:
            raise RuntimeError(f"{load.failed} submissions failed")
        rates["platform"].append(load.per_second)
        alone = durable_queue.drive(directory / f"alone{number}.db", 32, seconds, durable_queue.submit_once)
        rates["store"].append(asyncio.run(alone))
        rates["plain"].append(durable_queue.plain_inserts(directory / f"plain{number}.db", 32, seconds))
    one, other = statistics.median(rates["platform"]), statistics.median(rates["store"])
    return {
        "accepted and durable at 32 clients, per second": one,
        "the store alone with group commit, per second": other,
        "plain inserts with a commit each, per second": statistics.median(rates["plain"]),
        "share of the store alone": one / other,
    }


def crowd(it: Platform, readers: int) -> dict[str, float]:
    """So many readers of one stream; every one must get every token, in order."""
    created = it.ask("POST", "/v1/models/bench/stream/predictions", {"input": {"tokens": TOKENS, "pause": 0.02}, "stream": True})
    url = created["urls"]["stream"].partition("//")[2].partition("/")[2]
    began = time.perf_counter()
    counts = asyncio.run(follow_all(it.port, "/" + url, readers))
    whole = sum(1 for count in counts if count == TOKENS)
    return {
        f"readers of one stream at once, of {readers}, that got all {TOKENS} tokens": whole,
        "seconds until the last had them (4 at least)": time.perf_counter() - began,
    }


async def follow_all(port: int, path: str, readers: int) -> list[int]:
    """How many tokens, in order from the first on, each reader got."""

    async def follow() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n".encode())
        content = await reader.read(-1)
        writer.close()
        numbers = [int(number) for number in re.findall(rb"data: t(\d+) ", content)]
        return len(numbers) if numbers == list(range(len(numbers))) else -1

    return await asyncio.gather(*(follow() for _ in range(readers)))


def at_rest(it: Platform) -> dict[str, float]:
    """What a platform without runners takes."""
    for app in ("bench/echo", "bench/stream"):
        it.command("rm", app, "--yes")
    while it.runners():
        time.sleep(0.1)
    time.sleep(2)
    before, began = process_tree.cpu_seconds(it.process), time.perf_counter()
    time.sleep(10)
    used = process_tree.cpu_seconds(it.process) - before
    memory = process_tree.memory(it.process)
    return {
        "at rest, all processes: resident MB": memory.resident,
        "proportional MB": memory.proportional,
        "percent of one core": used / (time.perf_counter() - began) * 100,
    }


if __name__ == "__main__":
    main()
