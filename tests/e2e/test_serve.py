"""`drivetrain serve`: Cog's HTTP API, through a real server."""

import base64
import json
import signal
import socket
import threading

import pytest
from hangups import hangups

REVERSE = """
    from cog import BasePredictor, Input

    class Predictor(BasePredictor):
        def setup(self):
            print("loading weights")

        def predict(self, text: str = Input(max_length=10), times: int = 1) -> str:
            print("reversing")
            return text[::-1] * times
"""


@pytest.fixture
def reverse(project):
    with project(REVERSE).serve() as server:
        yield server


def test_a_prediction_is_answered_with_the_whole_object(reverse):
    body = reverse.predict(text="abc", times="2")
    assert (body["status"], body["output"], body["logs"], body["error"]) == ("succeeded", "cbacba", "reversing\n", None)
    assert body["input"] == {"text": "abc", "times": 2}
    assert body["metrics"]["predict_time"] > 0
    assert body["created_at"] <= body["started_at"] <= body["completed_at"]


def test_the_index_names_every_route(reverse):
    index = reverse.client.get("/").json()
    assert {"docs_url", "openapi_url", "healthcheck_url", "shutdown_url", "predictions_url"} <= set(index)
    for name in ("docs_url", "openapi_url", "healthcheck_url"):
        assert reverse.client.get(index[name]).status_code == 200


def test_health_tells_the_set_up_with_its_log(reverse):
    health = reverse.health()
    assert (health["status"], health["setup"]["status"], health["setup"]["logs"]) == ("READY", "succeeded", "loading weights\n")


def test_the_document_describes_the_model(reverse):
    schemas = reverse.client.get("/openapi.json").json()["components"]["schemas"]
    assert schemas["Input"]["properties"]["text"]["maxLength"] == 10
    assert schemas["Input"]["required"] == ["text"]


def test_all_problems_of_the_inputs_come_at_once(reverse):
    answer = reverse.client.post("/predictions", json={"input": {"text": "much too long for it", "times": "many"}})
    assert answer.status_code == 422
    assert [problem["loc"] for problem in answer.json()["detail"]] == [["body", "input", "text"], ["body", "input", "times"]]


def test_unknown_inputs_are_ignored(reverse):
    assert reverse.predict(text="ab", nonsense=1)["output"] == "ba"


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"text=abc", "application/x-www-form-urlencoded", 415),
        (b"[]", "application/json", 422),
        (b'{"input": []}', "application/json", 422),
        (b'{"input": {"text": NaN}}', "application/json", 400),
        (b"", "application/json", 422),
    ],
)
def test_a_body_that_is_no_request_is_refused(reverse, content, content_type, status):
    answer = reverse.client.post("/predictions", content=content, headers={"Content-Type": content_type})
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_unknown_paths_and_methods_are_refused(reverse):
    assert reverse.client.get("/nothing").status_code == 404
    assert reverse.client.delete("/predictions").status_code == 405
    assert reverse.client.get("/predictions/unknown").status_code == 404


def test_an_id_is_run_once_and_remembered(reverse):
    first = reverse.client.put("/predictions/mine", json={"input": {"text": "abc"}}).json()
    again = reverse.client.put("/predictions/mine", json={"input": {"text": "other"}}).json()
    assert first == again == reverse.client.get("/predictions/mine").json()
    assert first["id"] == "mine"


def test_an_id_in_the_body_must_be_that_of_the_url(reverse):
    answer = reverse.client.put("/predictions/mine", json={"id": "yours", "input": {"text": "abc"}})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "id"]


GATED = """
    import time
    from cog import BasePredictor

    class Predictor(BasePredictor):
        def predict(self, gate: str) -> str:
            print("waiting", flush=True)
            with open(gate) as file:  # a named pipe: waits until somebody opens the other end
                return file.read()
"""


@pytest.fixture
def gated(project):
    import os

    made = project(GATED)
    gate = made.root / "gate"
    os.mkfifo(gate)
    with hangups(signal.SIG_DFL), made.serve() as server:
        server.gate = gate
        yield server


def test_an_asynchronous_prediction_is_answered_at_once_and_can_be_asked_for(gated):
    body = gated.predict(_prefer="respond-async", gate=str(gated.gate))
    assert body["status"] in ("starting", "processing")
    assert gated.health()["status"] == "BUSY"
    gated.gate.write_text("opened")
    done = gated.wait_until(body["id"], lambda answer: answer["status"] == "succeeded")
    assert (done["output"], done["logs"]) == ("opened", "waiting\n")


def test_a_second_prediction_is_refused_while_the_slot_is_taken(gated):
    body = gated.predict(_prefer="respond-async", gate=str(gated.gate))
    answer = gated.client.post("/predictions", json={"input": {"gate": "x"}})
    assert (answer.status_code, answer.json()["detail"]) == (409, "Already running a prediction")
    gated.gate.write_text("")
    gated.wait_until(body["id"], lambda answer: answer["status"] == "succeeded")


def test_putting_an_id_that_is_under_way_waits_for_the_same_result(gated):
    gated.client.put("/predictions/one", json={"input": {"gate": str(gated.gate)}}, headers={"Prefer": "respond-async"})
    gated.wait_until("one", lambda answer: answer["logs"])
    gated.gate.write_text("once")
    assert gated.client.put("/predictions/one", json={"input": {"gate": str(gated.gate)}}).json()["output"] == "once"


def test_a_client_that_hangs_up_cancels_its_prediction(gated):
    body = json.dumps({"id": "left", "input": {"gate": str(gated.gate)}}).encode()
    url = gated.client.base_url
    with socket.create_connection((url.host, url.port)) as client:
        head = f"POST /predictions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        gated.wait_until("left", lambda answer: answer.get("logs"))
    gated.wait_until("left", lambda answer: answer["status"] == "canceled")
    assert gated.wait_for_health("READY") == "READY"


def test_cancel_stops_code_that_sleeps(gated):
    body = gated.predict(_prefer="respond-async", gate=str(gated.gate))
    gated.wait_until(body["id"], lambda answer: answer["logs"])
    assert gated.client.post(f"/predictions/{body['id']}/cancel").status_code == 200
    done = gated.wait_until(body["id"], lambda answer: answer["status"] != "processing")
    assert (done["status"], done["output"], done["error"]) == ("canceled", None, None)
    assert gated.client.post(f"/predictions/{body['id']}/cancel").status_code == 404


FILES = """
    from cog import BaseModel, Path, File

    class Output(BaseModel):
        text: str
        file: Path

    class Predictor:
        def predict(self, image: Path, attachment: File = None) -> Output:
            out = Path("same-name.txt")
            out.write_text(image.read_text() + (attachment.read().decode() if attachment else ""))
            return Output(text=image.suffix, file=out)
"""


def test_files_go_in_and_come_out_as_data_urls(project):
    def url(text, media_type="image/png"):
        return f"data:{media_type};base64," + base64.b64encode(text.encode()).decode()

    with project(FILES).serve() as server:
        body = server.predict(image=url("one"), attachment=url("two"))
        assert body["output"] == {"text": ".png", "file": url("onetwo", "text/plain")}


def test_large_files_come_whole_wherever_they_are(project):
    made = project(
        """
        from typing import Any
        from cog import BasePredictor, Path

        class Predictor(BasePredictor):
            def predict(self) -> Any:
                for name, size in {"a.txt": 100_000, "b.txt": 3_000_001, "c.txt": 10}.items():
                    Path(name).write_text(name[0] * size)
                return {"second": Path("b.txt"), "list": [Path("a.txt"), Path("c.txt"), Path("b.txt")], "none": None}
        """
    )
    with made.serve() as server:
        first = server.predict()
        assert server.client.get(f"/predictions/{first['id']}").json() == first
        assert len(server.client.head(f"/predictions/{first['id']}").content) == 0
        a, b, c = (
            "data:text/plain;base64," + base64.b64encode((letter * size).encode()).decode()
            for letter, size in (("a", 100_000), ("b", 3_000_001), ("c", 10))
        )
        assert first["output"] == {"second": b, "list": [a, c, b], "none": None}
        with server.client.stream("GET", f"/predictions/{first['id']}", headers={"Accept": "text/event-stream"}) as stream:
            completed = [line for line in stream.iter_lines() if line.startswith("data: ")][-1]
        assert json.loads(completed.removeprefix("data: "))["output"] == first["output"]


@pytest.mark.parametrize("name", ["/etc/passwd", "file:///etc/passwd", "predict.py"])
def test_a_path_of_the_servers_machine_is_never_read_through_http(project, name):
    with project(FILES).serve() as server:
        answer = server.client.post("/predictions", json={"input": {"image": name}})
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"] == ["body", "input", "image"]


def test_a_download_that_fails_fails_the_prediction(project):
    with project(FILES).serve("--allow-private-addresses") as server:
        body = server.predict(image="http://127.0.0.1:9/x.png")
        assert body["status"] == "failed"
        assert "cannot download" in body["error"]
        assert server.predict(image="data:,x")["status"] == "succeeded"


def test_a_file_yielded_again_is_read_at_each_yield(project):
    source = """
        from typing import Iterator
        from cog import Path

        class Predictor:
            def predict(self) -> Iterator[Path]:
                for number in range(3):
                    Path("progress.txt").write_text(str(number))
                    yield Path("progress.txt")
    """
    with project(source).serve() as server:
        outputs = server.predict()["output"]
        assert [base64.b64decode(output.partition(",")[2]) for output in outputs] == [b"0", b"1", b"2"]


ASYNC = """
    import asyncio, contextvars, os
    from cog import BasePredictor, AsyncConcatenateIterator

    class Predictor(BasePredictor):
        async def setup(self):
            self.arrived = asyncio.Condition()
            self.count = 0
            self.loop = asyncio.get_running_loop()

        async def predict(self, name: str, together: int = 1) -> str:
            assert asyncio.get_running_loop() is self.loop
            print(f"{name} begins")
            async with self.arrived:
                self.count += 1
                self.arrived.notify_all()
                await self.arrived.wait_for(lambda: self.count >= together)
            print(f"{name} ends")
            return name
"""


def test_async_predictions_run_together_with_logs_of_their_own(project):
    made = project(ASYNC, config="predict: predict.py:Predictor\nconcurrency:\n  max: 3\nbuild:\n  python_version: '3.11'\n")
    with made.serve() as server:
        ids = [server.predict(_prefer="respond-async", name=name, together=3)["id"] for name in "abc"]
        done = [server.wait_until(run_id, lambda answer: answer["status"] == "succeeded") for run_id in ids]
    assert [body["output"] for body in done] == ["a", "b", "c"]
    assert [body["logs"] for body in done] == [f"{name} begins\n{name} ends\n" for name in "abc"]


def test_an_async_prediction_leaves_no_scope_behind(project):
    made = project(
        """
        from cog import _scope

        class Predictor:
            async def predict(self) -> int:
                return len(_scope._running)
        """
    )
    with made.serve() as server:
        assert [server.predict()["output"] for _ in range(3)] == [1, 1, 1]


def test_an_async_prediction_can_be_canceled(project):
    with project(ASYNC).serve() as server:
        body = server.predict(_prefer="respond-async", name="a", together=2)
        server.wait_until(body["id"], lambda answer: answer["logs"])
        server.client.post(f"/predictions/{body['id']}/cancel")
        assert server.wait_until(body["id"], lambda answer: answer["status"] != "processing")["status"] == "canceled"
        assert server.predict(name="b", together=1)["output"] == "b"


LOGS = """
    import os, subprocess, sys

    class Predictor:
        def predict(self, end: str = "\\n") -> int:
            print("out")
            print("err", file=sys.stderr)
            os.write(1, b"native\\n")
            subprocess.run(["sh", "-c", "echo child; echo child-err >&2"])
            print("10%\\r20%", end=end)
            return 0
"""


def test_logs_hold_what_python_native_code_and_children_write_in_order(project):
    with project(LOGS).serve() as server:
        assert server.predict()["logs"] == "out\nerr\nnative\nchild\nchild-err\n10%\r20%\n"


def test_a_line_without_its_end_does_not_leak_into_the_next_prediction(project):
    with project(LOGS).serve() as server:
        first, second = server.predict(end=""), server.predict(end="")
    assert first["logs"] == second["logs"]
    assert first["logs"].endswith("10%\r20%")


def test_a_failed_prediction_keeps_its_log_and_traceback(project):
    with project(
        "class Predictor:\n    def predict(self) -> int:\n        print('so far')\n        raise ValueError('boom')\n"
    ).serve() as server:
        body = server.predict()
    assert (body["status"], body["error"], body["output"]) == ("failed", "boom", None)
    assert body["logs"].startswith("so far\nTraceback")
    assert "ValueError: boom" in body["logs"]
    assert "drivetrain_worker" not in body["logs"]


def test_exit_in_a_prediction_fails_it_and_nothing_else(project):
    with project(
        "import sys\nclass Predictor:\n    def predict(self, leave: bool) -> int:\n        return sys.exit(3) if leave else 1\n"
    ).serve() as server:
        assert server.predict(leave=True)["status"] == "failed"
        assert server.predict(leave=False)["output"] == 1


CRASH = """
    import os, signal

    class Predictor:
        def setup(self):
            print("set up in", os.getpid())

        def predict(self, crash: bool) -> int:
            if crash:
                print("last words", flush=True)
                os.kill(os.getpid(), signal.SIGSEGV)
            return os.getpid()
"""


def test_a_crash_fails_its_prediction_with_its_last_words_and_the_worker_is_replaced(project):
    with project(CRASH).serve() as server:
        before = server.predict(crash=False)["output"]
        body = server.predict(crash=True)
        assert body["status"] == "failed"
        assert "SIGSEGV" in body["error"]
        assert body["logs"].startswith("last words\n")
        server.wait_for_health("READY")
        assert server.predict(crash=False)["output"] != before


def test_children_of_a_worker_end_with_it(project):
    source = """
        import os, subprocess, signal

        class Predictor:
            def predict(self, crash: bool) -> list[int]:
                child = subprocess.Popen(["sleep", "600"])
                daemon = subprocess.run(["sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & echo $!"], stdout=subprocess.PIPE)
                print(child.pid, int(daemon.stdout), flush=True)
                if crash:
                    os.kill(os.getpid(), signal.SIGKILL)
                return [child.pid, int(daemon.stdout)]
    """
    with project(source).serve() as server:
        body = server.predict(crash=True)
        server.wait_for_health("READY")
        for pid in body["logs"].split()[:2]:
            assert not is_alive(int(pid))


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            "class Predictor:\n    def setup(self):\n        print('trying')\n        raise RuntimeError('no weights')\n    def predict(self) -> int:\n        return 1\n",
            "no weights",
        ),
        ("print('trying')\nimport not_there_at_all\n", "not_there_at_all"),
        ("print('trying')\nclass Other: pass\n", "Predictor"),
    ],
    ids=["setup", "import", "missing"],
)
def test_a_failed_set_up_is_reported_with_its_log_and_not_tried_for_ever(project, source, told):
    with project(source).serve(ready=False) as server:
        server.wait_for("set-up failed")
        health = server.health()
        assert (health["status"], health["setup"]["status"]) == ("SETUP_FAILED", "failed")
        assert "trying\n" in health["setup"]["logs"]
        assert told in health["setup"]["error"]
        answer = server.client.post("/predictions", json={"input": {}})
        assert answer.status_code == 503
        assert told in answer.json()["detail"]


def test_shutdown_finishes_what_runs_and_ends_with_success(gated):
    body = gated.predict(_prefer="respond-async", gate=str(gated.gate))
    gated.wait_until(body["id"], lambda answer: answer["logs"])
    assert gated.client.post("/shutdown").json() == {}
    gated.gate.write_text("")
    assert gated.process.wait(timeout=60) == 0


def test_a_closed_terminal_lets_what_runs_finish_however_often_it_says_so(gated):
    answers = []
    asking = threading.Thread(target=lambda: answers.append(gated.predict(gate=str(gated.gate))))
    asking.start()
    gated.wait_for_health("BUSY")
    gated.process.send_signal(signal.SIGHUP)
    while listens(gated):
        pass
    gated.process.send_signal(signal.SIGHUP)
    gated.gate.write_text("opened")
    asking.join(60)
    assert [answer["output"] for answer in answers] == ["opened"]
    assert gated.process.wait(timeout=60) == 0


def listens(server):
    address = server.client.base_url
    try:
        socket.create_connection((address.host, address.port), timeout=60).close()
    except OSError:
        return False
    return True


def test_a_server_started_with_nohup_outlives_its_terminal(project):
    with hangups(signal.SIG_IGN), project(REVERSE).serve() as server:  # nohup starts it so
        server.process.send_signal(signal.SIGHUP)
        assert server.predict(text="abc")["output"] == "cba"


def test_a_port_in_use_is_named_before_anything_starts(project):
    made = project(REVERSE)
    with made.serve() as server:
        done = made.cli("serve", "--port", server.base.rpartition(":")[2])
    assert done.returncode == 2
    assert "is in use" in done.stderr
    assert "loading weights" not in done.stderr


def test_a_changed_source_file_restarts_the_worker(project):
    made = project("class Predictor:\n    def predict(self) -> str:\n        return 'old'\n")
    with made.serve("--reload") as server:
        assert server.predict()["output"] == "old"
        made.write("predict.py", "class Predictor:\n    def predict(self, n: int = 1) -> str:\n        return 'new' * n\n")
        server.wait_for("Reloading: predict.py")
        server.wait_for("Ready after")
        assert server.predict(n=2)["output"] == "newnew"


def test_json_values_of_every_kind_come_back(project):
    source = """
        from typing import Any

        class Predictor:
            def predict(self, value: Any) -> Any:
                return value
    """
    with project(source).serve() as server:
        for value in (0, "", False, [], {}, 1.5, 2**80, "ü€\u0000", [[{"a": None}]]):
            assert server.predict(value=value)["output"] == value, json.dumps(value)
