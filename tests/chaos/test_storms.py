"""Many clients that want the same, or change their minds, or never listen."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

pytestmark = pytest.mark.slow

TERMINAL = ("succeeded", "failed", "canceled")

COUNTED = """
    import os, time
    from typing import Iterator
    from cog import BasePredictor

    class Predictor(BasePredictor):
        def predict(self, name: str = "", seconds: float = 0, items: int = 1) -> Iterator[str]:
            with open("runs.log", "a") as runs:
                runs.write(name + "\\n")
            for number in range(items):
                time.sleep(seconds)
                yield str(number)
"""

COUNTED_TOGETHER = COUNTED.replace("import os, time", "import asyncio").replace("time.sleep", "await asyncio.sleep")
COUNTED_TOGETHER = COUNTED_TOGETHER.replace("def predict", "async def predict").replace("Iterator", "AsyncIterator")


@pytest.fixture(params=["synchronous", "asynchronous"])
def storm(request, project):
    """A server with a long queue, whose worker must be the same at the end."""
    if request.param == "synchronous":
        made = project(COUNTED)
    else:
        config = "predict: predict.py:Predictor\nconcurrency:\n  max: 8\nbuild:\n  python_version: '3.11'\n"
        made = project(COUNTED_TOGETHER, config=config)
    with made.serve("--queue", "500", "--allow-private-addresses") as server:
        server.root = made.root
        server.predict()
        before = deaths(server)
        yield server
        assert server.wait_for_health("READY") == "READY"
        assert deaths(server) == before == 0, "".join(server.lines[-60:])
        assert server.predict(name="after")["status"] == "succeeded"


def deaths(server):
    lines = server.client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("drivetrain_worker_deaths ")).split()[1])


def together(count, action):
    """Do something from many clients at the same moment."""
    gate = threading.Barrier(count)

    def act(number):
        with httpx.Client(timeout=60) as client:
            gate.wait(60)
            return action(client, number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(act, range(count)))


def test_an_id_asked_for_by_fifty_clients_is_run_once(storm):
    body = {"input": {"name": "one", "seconds": 0.2}}
    answers = together(50, lambda client, _: client.put(f"{storm.base}/predictions/one", json=body).json())
    assert answers == [answers[0]] * 50
    assert answers[0]["status"] == "succeeded"
    assert (storm.root / "runs.log").read_text().split().count("one") == 1


def test_predictions_canceled_as_soon_as_they_are_asked_for(storm):
    def ask_and_cancel(client, number):
        for turn in range(10):
            path = f"{storm.base}/predictions/{number}-{turn}"
            body = {"input": {"seconds": 60}}
            assert client.put(path, json=body, headers={"Prefer": "respond-async"}).status_code == 202
            assert client.post(f"{path}/cancel").status_code == 200
            while (answer := client.get(path).json())["status"] not in TERMINAL:
                pass
            assert answer["status"] == "canceled"

    began = time.monotonic()
    together(16, ask_and_cancel)
    assert time.monotonic() - began < 30  # none was waited for and none was given up


def test_cancelations_from_many_clients_at_once(storm):
    def cancel(client, number):
        for turn in range(20):
            client.post(f"{storm.base}/predictions/{turn}/cancel")
        return number

    for turn in range(20):
        storm.client.put(f"/predictions/{turn}", json={"input": {"seconds": 60}}, headers={"Prefer": "respond-async"})
    together(16, cancel)
    for turn in range(20):
        assert storm.wait_until(str(turn), lambda body: body["status"] in TERMINAL)["status"] == "canceled"


def test_clients_that_hang_up_while_they_wait_or_while_it_runs(storm):
    def ask_and_leave(client, number):
        for _ in range(5):
            with pytest.raises(httpx.ReadTimeout):
                client.post(f"{storm.base}/predictions", json={"input": {"seconds": 60}}, timeout=0.05 + number / 200)

    together(16, ask_and_leave)
    assert storm.wait_for_health("READY") == "READY"


def test_subscribers_that_come_and_go_see_the_same_events(storm):
    body = {"input": {"seconds": 0.02, "items": 100}}
    storm.client.put("/predictions/watched", json=body, headers={"Prefer": "respond-async"})

    def listen(client, number):
        client.headers["Accept"] = "text/event-stream"
        if number % 3 == 0:  # leaves early
            with client.stream("GET", f"{storm.base}/predictions/watched") as stream:
                return next(stream.iter_lines())
        with client.stream("GET", f"{storm.base}/predictions/watched") as stream:
            return [json.loads(line[6:]).get("chunk") for line in stream.iter_lines() if line.startswith("data: ")]

    heard = together(30, listen)
    whole = [None, *map(str, range(100)), None]
    assert all(each in (whole, "event: start") for each in heard)


@pytest.fixture
def black_hole():
    """A receiver that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


def test_a_receiver_that_hangs_holds_up_nobody_else(storm, black_hole, receiver, settled):
    for number in range(150):
        storm.client.post("/predictions", json={"id": str(number), "input": {}, "webhook": black_hole})
    body = {"id": "heard", "input": {}, "webhook": receiver.url, "webhook_events_filter": ["completed"]}
    assert storm.client.post("/predictions", json=body).json()["status"] == "succeeded"
    assert settled(lambda: receiver.bodies["heard"], seconds=10)
