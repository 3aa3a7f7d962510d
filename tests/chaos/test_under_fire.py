"""Load from many clients while workers are killed at random: nothing is lost, nothing runs twice, nothing leaks.

``CHAOS_SECONDS`` says how long each of the storms lasts.
"""

import json
import os
import random
import signal
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field

import httpx
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SECONDS = float(os.environ.get("CHAOS_SECONDS", "12"))
CLIENTS = 12
TERMINAL = ("succeeded", "failed", "canceled")

BODY = """
            with open(os.environ["RUNS"], "a") as runs:
                runs.write(name + "\\n")
            print(name, "begins")
            if daemon:
                subprocess.run(["sh", "-c", "sleep 600 & setsid sleep 600 &"])
            {wait}
            with open("out.txt", "w") as file:
                file.write(name)
            print(name, "ends")
            return {{"name": name, "file": Path("out.txt")}}
"""

SYNCHRONOUS = """
    import os, subprocess, time
    from typing import Any
    from cog import BasePredictor, Path

    class Predictor(BasePredictor):
        def predict(self, name: str, seconds: float = 0, daemon: bool = False) -> Any:
""" + BODY.format(wait="time.sleep(seconds)")

ASYNCHRONOUS = """
    import asyncio, os, subprocess
    from typing import Any
    from cog import BasePredictor, Path

    class Predictor(BasePredictor):
        async def predict(self, name: str, seconds: float = 0, daemon: bool = False) -> Any:
""" + BODY.format(wait="await asyncio.sleep(seconds)").replace('"out.txt"', 'f"{name}.txt"')


@dataclass
class Record:
    """What the clients saw."""

    answers: dict = field(default_factory=dict)
    refused: Counter = field(default_factory=Counter)
    problems: list = field(default_factory=list)
    webhooks: set = field(default_factory=set)
    kills: Counter = field(default_factory=Counter)


class Client(threading.Thread):
    """Asks for predictions in every way there is until the time is up."""

    def __init__(self, server, receiver, record, until, seed):
        super().__init__()
        self.random = random.Random(seed)
        self.http = httpx.Client(base_url=server.base, timeout=120)
        self.receiver, self.record, self.until = receiver, record, until

    def run(self):
        ways = [self.wait, self.put_and_poll, self.stream, self.cancel, self.hang_up, self.ask_twice]
        with self.http:
            while time.monotonic() < self.until:
                name = uuid.uuid4().hex
                try:
                    self.random.choice(ways)(name, self.body(name))
                except Exception as error:  # noqa: BLE001 (whatever it is, it is a problem of the server under fire)
                    self.record.problems.append((name, repr(error)))

    def body(self, name):
        inputs = {"name": name, "seconds": self.random.choice([0, 0, 0.01, 0.1]), "daemon": self.random.random() < 0.05}
        body = {"id": name, "input": inputs}
        if self.random.random() < 0.3:
            body["webhook"] = self.receiver.url
        return body

    def accepted(self, name, body, answer):
        """Whether a prediction was accepted; a full queue and a worker that is being replaced are no faults."""
        if answer.status_code == 409:
            self.record.refused[answer.status_code] += 1
            return False
        assert answer.status_code in (200, 202), (answer.status_code, answer.text)
        if "webhook" in body:
            self.record.webhooks.add(name)
        return True

    def finish(self, name, answer):
        assert answer["id"] == name
        assert answer["status"] in TERMINAL, answer
        if answer["status"] == "succeeded":
            assert answer["output"]["name"] == name
            assert answer["logs"].startswith(f"{name} begins\n{name} ends\n")  # what a crash says right after may follow
        if answer["status"] == "failed":
            assert "was killed by" in answer["error"] or "nobody knows how" in answer["error"], answer
        assert self.record.answers.setdefault(name, answer["status"]) == answer["status"]

    def wait(self, name, body):
        answer = self.http.post("/predictions", json=body)
        if self.accepted(name, body, answer):
            assert answer.status_code == 200
            self.finish(name, answer.json())

    def put_and_poll(self, name, body):
        answer = self.http.put(f"/predictions/{name}", json=body, headers={"Prefer": "respond-async"})
        if self.accepted(name, body, answer):
            self.finish(name, self.poll(name))

    def poll(self, name):
        while True:
            body = self.http.get(f"/predictions/{name}").json()
            if body["status"] in TERMINAL:
                return body
            time.sleep(0.01)

    def stream(self, name, body):
        with self.http.stream("POST", "/predictions", json=body, headers={"Accept": "text/event-stream"}) as answer:
            text = answer.read().decode()
        if self.accepted(name, body, answer):
            events = [part.split("\n") for part in text.split("\n\n") if part and not part.startswith(":")]
            assert [event[0] for event in events].count("event: completed") == 1, text
            self.finish(name, json.loads(events[-1][1].removeprefix("data: ")))

    def cancel(self, name, body):
        answer = self.http.post("/predictions", json=body, headers={"Prefer": "respond-async"})
        if self.accepted(name, body, answer):
            assert self.http.post(f"/predictions/{name}/cancel").status_code in (200, 404)
            self.finish(name, self.poll(name))

    def hang_up(self, name, body):
        body["input"]["seconds"] = 30
        try:
            answer = self.http.post("/predictions", json=body, timeout=self.random.random() / 5)
        except httpx.TimeoutException:
            answer = self.http.get(f"/predictions/{name}")
            if answer.status_code == 404:  # it was refused, or hung up before it was whole
                return
            if "webhook" in body:
                self.record.webhooks.add(name)
            self.finish(name, self.poll(name))
        else:
            if self.accepted(name, body, answer):
                self.finish(name, answer.json())

    def ask_twice(self, name, body):
        first = self.http.put(f"/predictions/{name}", json=body, headers={"Prefer": "respond-async"})
        if self.accepted(name, body, first):
            again = self.http.put(f"/predictions/{name}", json=body)
            assert again.status_code == 200
            self.finish(name, again.json())


class Killer(threading.Thread):
    """Ends workers in every way, and stops some for a moment."""

    def __init__(self, server, processes, record, until):
        super().__init__()
        self.server, self.processes, self.record, self.until = server, processes, record, until
        self.random = random.Random(1)

    def run(self):
        while time.monotonic() < self.until:
            time.sleep(self.random.uniform(0.1, 0.5))
            template = self.processes.template_of(self.server)
            if victims := [*self.processes.workers_of(self.server), *([template] if template else [])]:
                self.attack(self.random.choice(victims))

    def attack(self, pid):
        how = self.random.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGSTOP])
        self.record.kills[how.name] += 1
        self.processes.kill(pid, how)
        if how is signal.SIGSTOP:
            time.sleep(0.2)
            self.processes.kill(pid, signal.SIGCONT)


def fire(server, receiver, processes):
    record = Record()
    until = time.monotonic() + SECONDS
    threads = [Client(server, receiver, record, until, seed) for seed in range(CLIENTS)]
    threads.append(Killer(server, processes, record, until))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return record


def assert_nothing_was_lost_or_run_twice(record, receiver, runs, settled):
    assert record.problems == []
    counts = Counter(runs.read_text().split())
    assert max(counts.values()) == 1
    for name, status in record.answers.items():
        assert counts[name] == 1 or status in ("canceled", "failed")
    assert settled(lambda: all(name in receiver.bodies for name in record.webhooks))
    for name in record.webhooks:
        assert settled(lambda name=name: receiver.bodies[name][-1]["status"] in TERMINAL)
        statuses = [body["status"] for body in receiver.bodies[name]]
        assert sum(status in TERMINAL for status in statuses) == 1
        assert statuses[-1] == record.answers[name]


@pytest.mark.parametrize(
    ("source", "config", "options", "children"),
    [
        (SYNCHRONOUS, "", ["--workers", "3", "--queue", "50", "--snapshot", "off"], 3),
        (SYNCHRONOUS, "", ["--workers", "3", "--queue", "50", "--snapshot", "after-setup"], 3),
        (ASYNCHRONOUS, "concurrency:\n  max: 8\nbuild:\n  python_version: '3.11'\n", ["--queue", "50"], 1),
    ],
    ids=["synchronous", "forked", "asynchronous"],
)
def test_under_fire(project, receiver, processes, settled, tmp_path, source, config, options, children):
    made = project(source, config=f"predict: predict.py:Predictor\n{config}")
    made.environ["RUNS"] = str(runs := tmp_path / "runs")
    runs.touch()
    family = processes(made)
    with made.serve("--allow-private-addresses", *options) as server:
        assert server.predict(name="first")["status"] == "succeeded"
        before = server.footprint()
        record = fire(server, receiver, family)
        print(f"{len(record.answers)} predictions, {Counter(record.answers.values())}, {record.kills}, {record.refused}")
        assert server.wait_for_health("READY") == "READY"
        assert settled(lambda: len(family.workers_of(server)) == children)
        assert_nothing_was_lost_or_run_twice(record, receiver, runs, settled)
        for _ in range(110):  # what is remembered of the storm is forgotten
            assert server.predict(name=uuid.uuid4().hex)["status"] == "succeeded"
        assert settled(lambda: server.footprint().descriptors <= before.descriptors + 3 * children), (before, server.footprint())
        assert server.footprint().megabytes < before.megabytes + 60, (before, server.footprint())
        assert "Traceback" not in "".join(line for line in server.lines if not line.startswith("{"))
    assert settled(lambda: family.all() == [])
