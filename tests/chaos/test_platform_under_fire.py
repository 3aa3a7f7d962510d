"""A platform under load while it, its runners and their workers are killed at random, over receivers that hang, fail and are not there.

Afterwards every accepted prediction is in one terminal state, and in the same one whoever asks; none was begun more often than its
record says; canceled ones did not run on; no process and no file is left.

``CHAOS_SECONDS`` says how long the storm lasts.
"""

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import httpx
import pytest
from live_platform import LivePlatform

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

SECONDS = float(os.environ.get("CHAOS_SECONDS", "25"))
CLIENTS = 10
TERMINAL = ("succeeded", "failed", "canceled")
#: Why predictions may fail on a full disk: the model could not write its file, or the platform could not take it.
SHORT_OF_SPACE = re.compile(r"No space left|disk is full|cannot upload .* answered 503")
TROUBLE = (httpx.TransportError, httpx.StreamError)

MODEL = """
    import os, subprocess, time
    from typing import Any
    from cog import BasePredictor, Path

    def note(*words):
        line = " ".join(map(str, (*words, time.time()))) + "\\n"
        file = os.open({runs!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, line.encode())
        os.close(file)

    class Predictor(BasePredictor):
        def predict(self, name: str, seconds: float = 0, daemon: bool = False, file: Path = None) -> Any:
            note("begin", name)
            if daemon:
                subprocess.run(["sh", "-c", "sleep 600 & setsid sleep 600 &"])
            time.sleep(seconds)
            with open("out.txt", "w") as out:
                out.write(name + (open(file).read() if file else ""))
            note("end", name)
            return {{"name": name, "file": Path("out.txt")}}
"""


@pytest.fixture
def black_hole():
    """A receiver that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


@dataclass
class Seen:
    """What the clients saw.

    Attributes:
        ids: Of accepted predictions, by the name that was asked for.
        ends: How they ended, by the name.
        told: Whose end a receiver that works must hear.
    """

    ids: dict = field(default_factory=dict)
    ends: dict = field(default_factory=dict)
    told: set = field(default_factory=set)
    kills: Counter = field(default_factory=Counter)
    refused: Counter = field(default_factory=Counter)
    problems: list = field(default_factory=list)


class Client(threading.Thread):
    """Asks for predictions in every way there is until the time is up, and does not give up when nobody answers."""

    def __init__(self, platform, receivers, seen, until, seed):
        super().__init__(name=f"client {seed}")
        self.random = random.Random(seed)
        self.http = platform.client()
        self.receivers, self.seen, self.until = receivers, seen, until

    def run(self):
        ways = [self.wait, self.poll, self.stream, self.cancel, self.hang_up, self.leave]
        with self.http:
            while time.monotonic() < self.until:
                name = uuid.uuid4().hex
                try:
                    self.random.choice(ways)(name, self.body(name))
                except Exception as error:  # noqa: BLE001 (whatever it is, it is a problem of the platform under fire)
                    self.seen.problems.append((name, repr(error)))

    def body(self, name):
        inputs = {"name": name, "seconds": self.random.choice([0, 0, 0.05, 0.5]), "daemon": self.random.random() < 0.05}
        if self.random.random() < 0.2:
            inputs["file"] = "data:text/plain,hello"
        body = {"input": inputs}
        if self.random.random() < 0.5:
            kind, url = self.random.choice(self.receivers)
            body["webhook"] = url
            if self.random.random() < 0.5:
                body["webhook_events_filter"] = ["completed"]
            if kind != "hopeless":
                self.seen.told.add(name)
        return body

    def ask(self, method, path, **options):
        """A request that is made until it is answered."""
        while True:
            try:
                answer = self.http.request(method, path, **options)
            except TROUBLE:
                time.sleep(0.05)
                continue
            if answer.status_code in (429, 503):
                self.seen.refused[answer.status_code] += 1
                time.sleep(0.05)
                continue
            assert answer.status_code < 400, (answer.status_code, answer.text)
            return answer.json()

    def submit(self, name, body, **options):
        """A prediction that is asked for until it is accepted, and is the same one however often it was asked for."""
        answer = self.ask("POST", "/api/v1/apps/me/model/predictions", json=body, headers={"Idempotency-Key": name}, **options)
        assert self.seen.ids.setdefault(name, answer["id"]) == answer["id"]
        return answer

    def finish(self, name, answer):
        while answer["status"] not in TERMINAL:
            answer = self.ask("GET", f"/api/v1/predictions/{self.seen.ids[name]}", params={"wait": 5})
        self.end(name, answer)
        return answer

    def end(self, name, answer):
        assert self.seen.ends.setdefault(name, answer["status"]) == answer["status"]
        if answer["status"] == "succeeded" and "output" in answer:
            assert answer["output"]["name"] == name
            assert answer["output"]["file"].startswith("http")

    def wait(self, name, body):
        self.finish(name, self.submit(name, body, params={"wait": 10}))

    def poll(self, name, body):
        self.finish(name, self.submit(name, body))

    def leave(self, name, body):
        self.submit(name, body)

    def hang_up(self, name, body):
        with contextlib.suppress(*TROUBLE):
            self.http.post(
                "/api/v1/apps/me/model/predictions",
                json=body,
                params={"wait": 10},
                headers={"Idempotency-Key": name},
                timeout=self.random.uniform(0.005, 0.1),
            )
        self.finish(name, self.submit(name, body))

    def cancel(self, name, body):
        body["input"]["seconds"] = self.random.choice([0.05, 0.5, 30])
        self.submit(name, body)
        time.sleep(self.random.choice([0, 0, 0.1, 0.3]))
        self.finish(name, self.ask("POST", f"/api/v1/predictions/{self.seen.ids[name]}/cancel"))

    def stream(self, name, body):
        """Follow the events, going on after the last one whenever the connection breaks."""
        self.submit(name, body)
        path, after = f"/api/v1/predictions/{self.seen.ids[name]}/events", None
        while True:
            headers = {"Last-Event-ID": after} if after else {}
            with contextlib.suppress(*TROUBLE), self.http.stream("GET", path, headers=headers) as answer:
                if answer.status_code != 200:
                    answer.read()
                    assert answer.status_code == 503, answer.text
                    time.sleep(0.05)
                    continue
                kind = None
                for line in answer.iter_lines():
                    if line.startswith("id: "):
                        after = line[4:]
                    elif line.startswith("event: "):
                        kind = line[7:]
                    elif line.startswith("data: ") and kind == "completed":
                        self.end(name, json.loads(line[6:]))
                        return
            time.sleep(0.02)


class Killer(threading.Thread):
    """Ends workers and runners in every way, and now and then the platform itself."""

    def __init__(self, platform, seen, until):
        super().__init__(name="killer")
        self.platform, self.seen, self.until = platform, seen, until
        self.random = random.Random(7)

    def run(self):
        try:
            while time.monotonic() < self.until:
                time.sleep(self.random.uniform(0.3, 1.5))
                self.attack(self.random.choice(["worker", "worker", "runner", "platform"]))
        except BaseException as error:
            self.seen.problems.append(("killer", repr(error)))
            raise

    def attack(self, whom):
        how = self.random.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP])
        if whom == "platform":
            self.seen.kills["platform"] += 1
            self.platform.kill()
            self.platform.up()
            return
        found = self.platform.workers() if whom == "worker" else self.platform.runners()
        if not found:
            return
        pid = self.random.choice(found)
        self.seen.kills[f"{whom} {how.name}"] += 1
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
            if how is signal.SIGSTOP:
                time.sleep(0.3)
                os.kill(pid, signal.SIGCONT)


class Filler(threading.Thread):
    """Fills the disk to its last byte, again and again, and makes room again after a while."""

    def __init__(self, platform, seen, until):
        super().__init__(name="filler")
        self.ballast, self.seen, self.until = platform.state / "ballast", seen, until

    def run(self):
        while time.monotonic() < self.until:
            time.sleep(1)
            with open(self.ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
                for size in (2**20, 2**12, 1):
                    with contextlib.suppress(OSError):
                        while True:
                            file.write(bytes(size))
            self.seen.kills["full disk"] += 1
            time.sleep(3)
            self.ballast.unlink()


def storm(platform, receivers, trouble=Killer, seconds=SECONDS):
    seen = Seen()
    until = time.monotonic() + seconds
    clients = [Client(platform, receivers, seen, until, seed) for seed in range(CLIENTS)]
    threads = [*clients, trouble(platform, seen, until)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 600)
        assert not thread.is_alive(), f"{thread.name} does not come to an end"
    return seen


def all_predictions(http):
    """Every prediction there is, by id."""
    found, cursor = {}, None
    while True:
        page = http.get("/api/v1/predictions", params={"limit": 1000, **({"cursor": cursor} if cursor else {})}).json()
        found |= {each["id"]: each for each in page["results"]}
        if not (cursor := page["next"]):
            return found


def read_runs(path):
    """Who began how often, and who ended when."""
    begins, ends = Counter(), defaultdict(list)
    for line in path.read_text().splitlines():
        what, name, at = line.split()
        if what == "begin":
            begins[name] += 1
        else:
            ends[name].append(float(at))
    return begins, ends


def assert_each_has_one_end(seen, records):
    assert set(seen.ids.values()) <= set(records), "a prediction was lost"
    assert len(set(seen.ids.values())) == len(seen.ids)
    assert len(records) == len(seen.ids) + 1, "somebody was given two for one"  # the one that was made first
    for name, prediction_id in seen.ids.items():
        record = records[prediction_id]
        assert record["status"] in TERMINAL, record
        assert seen.ends.get(name, record["status"]) == record["status"], record


def assert_nothing_ran_in_secret(seen, records, runs):
    begins, ends = read_runs(runs)
    for name, prediction_id in seen.ids.items():
        record = records[prediction_id]
        assert begins[name] <= record["attempt"], (begins[name], record)
        if record["status"] == "succeeded":
            assert ends[name], record
        if record["status"] == "canceled" and ends[name]:
            completed_at = time_of(record["completed_at"])
            assert max(ends[name]) < completed_at + 1, (ends[name], record)


def time_of(text):
    from datetime import datetime

    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def assert_each_end_was_told(seen, records, receiver, settled):
    terminal = {records[seen.ids[name]]["id"]: records[seen.ids[name]]["status"] for name in seen.told & set(seen.ids)}
    assert settled(lambda: all(any(status in TERMINAL for status, _ in receiver.deliveries[each]) for each in terminal), seconds=90)
    for prediction_id, status in terminal.items():
        told = [(each, delivery) for each, delivery in receiver.deliveries[prediction_id] if each in TERMINAL]
        assert {each for each, _ in told} == {status}, told
        assert len({delivery for _, delivery in told}) == 1, "told twice as if it were two"


def errors_of(http, records):
    """Why those that failed did."""
    failed = [prediction_id for prediction_id, record in records.items() if record["status"] == "failed"]
    return {http.get(f"/api/v1/predictions/{each}").json()["error"]["message"] for each in failed}


def until_ended(http, seen):
    """Wait until everything has ended; each answer is a signal."""
    deadline = time.monotonic() + 240
    for prediction_id in seen.ids.values():
        while http.get(f"/api/v1/predictions/{prediction_id}", params={"wait": 10}).json()["status"] not in TERMINAL:
            assert time.monotonic() < deadline, f"{prediction_id} does not end"


@contextlib.contextmanager
def deployed(platform, runs):
    """A platform with a model; nothing may be left of it in the end."""
    try:
        platform.up()
        platform.deploy("model", MODEL.format(runs=str(runs)), "--max", "3", "--keep-alive", "5", "--max-attempts", "5")
        with platform.client() as http:
            first = http.post("/api/v1/apps/me/model/predictions", params={"wait": 30}, json={"input": {"name": "first"}})
            assert first.json()["status"] == "succeeded", first.text
        yield platform
    finally:
        platform.stop()


def assert_nothing_is_left(platform, settled):
    assert settled(lambda: platform.family() == []), platform.family()
    assert platform.leftovers() == []


@pytest.fixture
def runs(tmp_path):
    path = tmp_path / "runs"
    path.touch()
    return path


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_platform_under_fire(tmp_path, cache, runs, receiver, black_hole, settled):
    receivers = [
        ("good", f"{receiver.url}/good"),
        ("good", f"{receiver.url}/slow"),
        ("good", f"{receiver.url}/failing"),
        ("hopeless", black_hole),
        ("hopeless", "http://127.0.0.1:1/"),
    ]
    with deployed(LivePlatform(tmp_path / "platform", cache), runs) as platform:
        seen = storm(platform, receivers)
        with platform.client() as http:
            until_ended(http, seen)
            records = all_predictions(http)
        print(f"{len(seen.ids)} predictions, {Counter(each['status'] for each in records.values())}, {seen.kills}, {seen.refused}")
        assert seen.problems == []
        assert_each_has_one_end(seen, records)
        assert_nothing_ran_in_secret(seen, records, runs)
        assert_each_end_was_told(seen, records, receiver, settled)
        written = "".join(line for line in platform.lines if not line.startswith("{"))
        assert "Traceback" not in written, written
    assert_nothing_is_left(platform, settled)


@pytest.fixture
def small_disk(tmp_path):
    """A directory with little room."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(directory)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted: {mounted.stderr.strip()}")
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


def test_platform_on_a_full_disk(tmp_path, cache, runs, small_disk, receiver, settled):
    """What is accepted is kept, what cannot be is refused, and when there is room again everything goes on."""
    platform = LivePlatform(tmp_path / "platform", cache, state=small_disk / "state")
    with deployed(platform, runs):
        seen = storm(platform, [("good", f"{receiver.url}/good")], trouble=Filler, seconds=min(SECONDS, 15))
        with platform.client() as http:
            until_ended(http, seen)
            records = all_predictions(http)
            after = http.post("/api/v1/apps/me/model/predictions", params={"wait": 30}, json={"input": {"name": "after"}})
            errors = errors_of(http, records)
        print(f"{len(seen.ids)} predictions, {Counter(each['status'] for each in records.values())}, {seen.kills}, {seen.refused}")
        assert after.json()["status"] == "succeeded", after.text
        assert seen.problems == []
        assert seen.refused[503], "the disk was never full"
        assert [error for error in errors if not SHORT_OF_SPACE.search(error)] == []
        assert_each_has_one_end(seen, records)
        assert_nothing_ran_in_secret(seen, records, runs)
        assert_each_end_was_told(seen, records, receiver, settled)
    assert_nothing_is_left(platform, settled)
