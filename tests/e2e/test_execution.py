"""Workers, slots, the queue, limits of time and number."""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from drivetrain.environments.installed import installed_interpreters
from drivetrain.settings import read_settings

GATED = """
    import os
    from cog import BasePredictor

    class Predictor(BasePredictor):
        def predict(self, gate: str = "") -> int:
            print("begun", flush=True)
            if gate:
                open(gate).read()  # a named pipe: waits until somebody opens the other end
            return os.getpid()
"""


@pytest.fixture
def gated(project):
    made = project(GATED)
    made.gates = [made.root / f"gate{number}" for number in range(3)]
    for gate in made.gates:
        os.mkfifo(gate)
    return made


def begin(server, gate):
    return server.predict(_prefer="respond-async", gate=str(gate))["id"]


def test_a_queue_lets_predictions_wait_their_turn_and_tells_their_place(gated):
    with gated.serve("--queue", "2") as server:
        ids = [begin(server, gate) for gate in gated.gates]
        server.wait_until(ids[0], lambda body: body["logs"])
        places = [server.client.get(f"/predictions/{run_id}").json().get("queue_position") for run_id in ids]
        assert places == [None, 0, 1]
        assert server.client.post("/predictions", json={"input": {}}).status_code == 409
        for gate, run_id in zip(gated.gates, ids, strict=True):
            gate.write_text("")
            server.wait_until(run_id, lambda body: body["status"] == "succeeded")


def test_a_prediction_that_waits_can_be_canceled(gated):
    with gated.serve("--queue", "1") as server:
        first, second = (begin(server, gate) for gate in gated.gates[:2])
        server.client.post(f"/predictions/{second}/cancel")
        body = server.client.get(f"/predictions/{second}").json()
        assert (body["status"], body["started_at"]) == ("canceled", None)
        gated.gates[0].write_text("")
        server.wait_until(first, lambda body: body["status"] == "succeeded")


def test_workers_run_synchronous_predictions_side_by_side(gated):
    with gated.serve("--workers", "2") as server:
        ids = [begin(server, gate) for gate in gated.gates[:2]]
        for run_id in ids:  # both have begun, and neither can end before its gate is opened
            server.wait_until(run_id, lambda body: body["logs"] == "begun\n")
        for gate in gated.gates[:2]:
            gate.write_text("")
        pids = {server.wait_until(run_id, lambda body: body["status"] == "succeeded")["output"] for run_id in ids}
    assert len(pids) == 2


def test_each_of_several_workers_sees_a_gpu_of_its_own(gated):
    gated.write("predict.py", GATED.replace("return os.getpid()", "return int(os.environ['CUDA_VISIBLE_DEVICES'])"))
    gated.environ["CUDA_VISIBLE_DEVICES"] = "4,7"
    with gated.serve("--workers", "2") as server:
        ids = [begin(server, gate) for gate in gated.gates[:2]]
        for run_id in ids:
            server.wait_until(run_id, lambda body: body["logs"] == "begun\n")
        for gate in gated.gates[:2]:
            gate.write_text("")
        outputs = {server.wait_until(run_id, lambda body: body["status"] == "succeeded")["output"] for run_id in ids}
    assert outputs == {4, 7}


def test_a_prediction_that_takes_too_long_fails_and_frees_its_slot(gated):
    with gated.serve("--prediction-timeout", "0.3") as server:
        body = server.predict(gate=str(gated.gates[0]))
        assert body["status"] == "failed"
        assert "longer than the 0.3 seconds" in body["error"]
        server.wait_for_health("READY")
        assert server.predict()["status"] == "succeeded"


def test_a_worker_is_replaced_after_its_number_of_predictions(gated):
    with gated.serve("--max-predictions", "2", "--queue", "4") as server:
        pids = [server.predict()["output"] for _ in range(5)]
    assert [pids[0] == pids[1], pids[1] == pids[2], pids[2] == pids[3], pids[3] == pids[4]] == [True, False, True, False]


def test_code_that_swallows_its_cancelation_does_not_keep_its_slot(project):
    source = """
        class Predictor:
            def predict(self, stubborn: bool) -> str:
                print("begun", flush=True)
                while stubborn:
                    try:
                        while True:
                            pass
                    except BaseException:
                        pass
                return "done"
    """
    with project(source).serve("--cancel-grace", "0.2") as server:
        run_id = server.predict(_prefer="respond-async", stubborn=True)["id"]
        server.wait_until(run_id, lambda body: body["logs"])
        server.client.post(f"/predictions/{run_id}/cancel")
        assert server.wait_until(run_id, lambda body: body["status"] != "processing")["status"] == "canceled"
        server.wait_for_health("READY")
        assert server.predict(stubborn=False)["output"] == "done"


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ("return True", "READY", None),
        ("return None", "READY", None),
        ("return False", "UNHEALTHY", "returned False"),
        ("raise RuntimeError('no GPU')", "UNHEALTHY", "no GPU"),
        ("raise SystemExit('no GPU')", "UNHEALTHY", "SystemExit: no GPU"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "async "], ids=["sync", "async"])
def test_the_authors_health_check_is_asked(project, body, status, told, prefix):
    source = f"class Predictor:\n    {prefix}def healthcheck(self):\n        {body}\n    {prefix}def predict(self) -> int:\n        return 1\n"
    with project(source).serve() as server:
        health = server.health()
    assert health["status"] == status
    assert (told or "") in health.get("user_healthcheck_error", "")


def test_the_health_check_is_asked_also_while_a_prediction_runs(gated):
    gated.write("predict.py", GATED + "\n        def healthcheck(self):\n            return False\n")
    with gated.serve(ready=True) as server:
        run_id = begin(server, gated.gates[0])
        server.wait_until(run_id, lambda body: body["logs"])
        assert server.health()["status"] == "UNHEALTHY"
        gated.gates[0].write_text("")
        server.wait_until(run_id, lambda body: body["status"] == "succeeded")


@pytest.mark.parametrize("prefix", ["", "async "], ids=["sync", "async"])
def test_a_model_without_a_health_check_is_busy_while_nothing_can_interrupt_its_code(project, prefix):
    source = f"""
        import signal

        class Predictor:
            {prefix}def predict(self, gate: str) -> int:
                signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGIO}})  # no handler runs, as inside of native code
                print("begun", flush=True)
                open(gate).read()
                return 1
    """
    made = project(source)
    os.mkfifo(made.root / "gate")
    with made.serve() as server:
        run_id = begin(server, "gate")
        server.wait_until(run_id, lambda body: body["logs"])
        status = server.health()["status"]
        (made.root / "gate").write_text("")
        server.wait_until(run_id, lambda body: body["status"] == "succeeded")
    assert status == "BUSY"


def test_a_health_check_needs_none_of_the_threads_that_predictions_wait_for(project):
    source = """
        import asyncio, threading

        class Predictor:
            def healthcheck(self):
                return False

            async def predict(self, gate: str) -> int:
                opened = threading.Event()
                threading.Thread(target=lambda: (open(gate).read(), opened.set())).start()
                waiting = [asyncio.get_running_loop().run_in_executor(None, opened.wait) for _ in range(100)]
                print("begun", flush=True)
                await asyncio.gather(*waiting)
                return 1
    """
    made = project(source)
    os.mkfifo(made.root / "gate")
    with made.serve() as server:
        run_id = begin(server, "gate")
        server.wait_until(run_id, lambda body: body["logs"])
        health = server.health()
        (made.root / "gate").write_text("")
        server.wait_until(run_id, lambda body: body["status"] == "succeeded")
    assert health["user_healthcheck_error"] == "the model's healthcheck returned False"


def test_probes_say_alive_and_ready(gated):
    with gated.serve() as server:
        assert server.client.get("/livez").status_code == 200
        assert server.client.get("/readyz").json() == {"status": "ready"}


def test_a_list_shows_what_is_known(gated):
    with gated.serve() as server:
        server.client.put("/predictions/a", json={"input": {}})
        results = server.client.get("/predictions").json()["results"]
    assert [(body["id"], body["status"]) for body in results] == [("a", "succeeded")]


def test_a_browser_page_may_call_when_its_origin_is_allowed(gated):
    with gated.serve("--cors-origin", "https://page.example") as server:
        answer = server.client.options("/predictions", headers={"Origin": "https://page.example"})
        assert answer.headers["access-control-allow-origin"] == "https://page.example"
        assert server.client.get("/").headers["access-control-allow-origin"] == "https://page.example"


def test_a_body_beyond_the_limit_is_refused(gated):
    with gated.serve("--max-body-size", "1") as server:
        answer = server.client.post("/predictions", json={"input": {"gate": "x" * 2_000_000}})
        assert answer.status_code == 413
        assert server.predict()["status"] == "succeeded"


def test_a_large_body_is_taken_as_it_is(project):
    with project("class Predictor:\n    def predict(self, text: str) -> int:\n        return len(text)\n").serve() as server:
        assert server.predict(text="é" * 3_000_000)["output"] == 3_000_000
        answer = server.client.post("/predictions", content=b" " * 2_000_000, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400


@pytest.mark.parametrize("prefix", ["", "async "], ids=["sync", "async"])
def test_inputs_are_as_deep_as_workers_can_read(project, prefix):
    source = f"""
        class Predictor:
            {prefix}def predict(self, x) -> int:
                levels = 0
                while x:
                    (x,) = x
                    levels += 1
                return levels
    """
    with project(source).serve() as server:
        answers = [
            server.client.post("/predictions", content='{"input": {"x": %s}}' % ("[" * n + "]" * n)) for n in (501, 700, 500)
        ]
    assert [answer.status_code for answer in answers] == [422, 422, 200]
    assert answers[2].json()["output"] == 499


@pytest.fixture
def eager_python(tmp_path):
    """A Python whose event loops can begin a task at once, as the only one on PATH."""
    found = next((one for one in installed_interpreters(read_settings(os.environ)) if one.version >= (3, 12)), None)
    if found is None:
        pytest.skip("there is no Python 3.12 or later on this machine")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(found.path)
    return tmp_path / "bin" / "python"


def test_a_prediction_may_have_ended_before_its_task_is_made(project, eager_python):
    source = """
        import asyncio

        class Predictor:
            async def setup(self):
                asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)

            async def predict(self, n: int) -> int:
                return n + 1
    """
    with project(source, python=eager_python).serve() as server:
        assert [server.predict(n=n)["output"] for n in (1, 2)] == [2, 3]


def test_a_signature_that_has_no_json_form_is_told_as_a_failure(project):
    source = "from typing import Literal\n\ndef predict(x: Literal[b'x']) -> int:\n    return 1\n"
    with project(source, config="predict: predict.py:predict\n").serve(ready=False) as server:
        server.wait_for_health("SETUP_FAILED")
        setup = server.health()["setup"]
    assert "not JSON serializable" in setup["error"]
    assert "drivetrain_worker" not in setup["logs"]


def test_sigterm_can_be_left_to_the_platform(gated):
    with gated.serve("--await-explicit-shutdown", "true") as server:
        server.process.terminate()
        assert server.predict()["status"] == "succeeded"
        server.client.post("/shutdown")
        assert server.process.wait(timeout=60) == 0


def test_trainings_are_served_when_asked_for(project):
    made = project(
        "def train(n: int) -> int:\n    return n + 1\n",
        config="train: predict.py:train\n",
    )
    with made.serve("--x-mode", "train") as server:
        assert server.client.post("/trainings", json={"input": {"n": 1}}).json()["output"] == 2
        assert "TrainingInput" in server.client.get("/openapi.json").json()["components"]["schemas"]
        assert server.client.post("/predictions", json={"input": {}}).status_code == 404


def test_prometheus_finds_counts_times_and_slots(gated):
    with gated.serve() as server:
        server.predict()
        page = server.client.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    for line in (
        'drivetrain_predictions_total{status="succeeded"} 1.0',
        "drivetrain_prediction_seconds_count 1.0",
        "drivetrain_slots_free 1.0",
    ):
        assert line in page.text.splitlines()


def test_each_prediction_leaves_one_line_of_summary(gated):
    with gated.serve() as server:
        server.client.put("/predictions/mine", json={"input": {}})
        line = json.loads(server.wait_for("prediction_ended"))
    assert (line["id"], line["status"], line["outputs"], line["error"]) == ("mine", "succeeded", 1, None)
    assert 0 <= line["waited_seconds"] < line["predict_seconds"] + 60


def test_one_server_answers_predictions_and_trainings(project):
    source = """
        class Predictor:
            def predict(self, n: int) -> int:
                return n * 2

        def train(steps: int) -> int:
            print("training")
            return steps + 1
    """
    made = project(source, config="predict: predict.py:Predictor\ntrain: predict.py:train\n")
    with made.serve() as server:
        assert {"predictions_url", "trainings_url"} <= set(server.client.get("/").json())
        schemas = server.client.get("/openapi.json").json()["components"]["schemas"]
        assert {"Input", "TrainingInput"} <= set(schemas)
        body = server.client.put("/trainings/t", json={"input": {"steps": 1}}).json()
        assert (body["output"], body["logs"]) == (2, "training\n")
        assert server.predict(n=2)["output"] == 4
        assert server.client.get("/trainings/t").json() == body
        assert server.client.get("/predictions/t").status_code == 404


TOGETHER = """
    import asyncio
    from cog import BasePredictor, concurrent

    class Predictor(BasePredictor):
        async def setup(self):
            self.arrived = asyncio.Event()
            self.count = 0

        @concurrent(max=2)
        async def predict(self, together: int) -> int:
            self.count += 1
            if self.count >= together:
                self.arrived.set()
            await self.arrived.wait()
            return self.count
"""


@pytest.mark.parametrize("prefix", ["", "async "], ids=["sync", "async"])
def test_large_inputs_arrive_whole_however_many_come_at_once(project, prefix):
    made = project(
        f"""
        import hashlib
        import os
        from typing import List

        class Predictor:
            {prefix}def predict(self, text: str, numbers: List[int], stop: bool = False) -> str:
                if stop:
                    os._exit(3)
                return hashlib.sha256(repr([text, numbers]).encode()).hexdigest()
        """,
        config="predict: predict.py:Predictor\nconcurrency:\n  max: 16\n",
    )
    inputs = [{"text": letter * 400_000 * count, "numbers": [count] * 50_000} for letter in "a字" for count in (1, 2, 4)]
    inputs.append({"text": "x" * 66_000_000, "numbers": []})  # more than the memory for such things holds
    expected = [hashlib.sha256(repr([each["text"], each["numbers"]]).encode()).hexdigest() for each in inputs]
    with made.serve("--queue", "16") as server, ThreadPoolExecutor(len(inputs)) as pool:
        assert [body["output"] for body in pool.map(lambda each: server.predict(**each), inputs)] == expected
        assert server.predict(**inputs[0], stop=True)["status"] == "failed"
        server.wait_for_health("READY")  # another worker, with memory of its own
        assert [body["output"] for body in pool.map(lambda each: server.predict(**each), inputs[:3])] == expected[:3]


def test_long_texts_come_out_whole_between_short_ones(project):
    made = project(
        """
        from typing import Any
        from cog import BasePredictor, ConcatenateIterator

        class Predictor(BasePredictor):
            def predict(self, counts: list) -> ConcatenateIterator[str]:
                for count in counts:
                    yield ("\\nä" * count)[:count]
        """
    )
    counts = [1, 3_000_000, 10_000, 10_001, 2, 1_000_000]
    with made.serve() as server:
        body = server.predict(counts=counts)
        assert body["output"] == [("\nä" * count)[:count] for count in counts]
        assert server.client.get(f"/predictions/{body['id']}").json()["output"] == body["output"]


@pytest.mark.parametrize(
    ("config", "environ", "slots"),
    [
        ("", {}, 2),
        ("concurrency:\n  max: 3\n", {}, 3),
        ("concurrency:\n  max: 3\n", {"COG_MAX_CONCURRENCY": "4"}, 4),
        ("", {"COG_MAX_CONCURRENCY": "0"}, 2),
    ],
    ids=["code", "config", "variable", "nonsense"],
)
def test_concurrency_is_what_the_variable_the_config_or_the_code_says(project, config, environ, slots):
    made = project(TOGETHER, config=f"predict: predict.py:Predictor\n{config}", environ=environ)
    with made.serve() as server:
        ids = [server.predict(_prefer="respond-async", together=slots)["id"] for _ in range(slots - 1)]
        assert server.health()["status"] == "READY"
        ids.append(server.predict(_prefer="respond-async", together=slots)["id"])
        for run_id in ids:
            server.wait_until(run_id, lambda body: body["status"] == "succeeded")
        assert f"drivetrain_slots {slots}.0" in server.client.get("/metrics").text


def test_synchronous_code_keeps_one_slot_whatever_the_config_says(project):
    made = project(GATED, config="predict: predict.py:Predictor\nconcurrency:\n  max: 5\n")
    with made.serve() as server:
        assert "drivetrain_slots 1.0" in server.client.get("/metrics").text


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        ("", "str"),
        (": Optional[str]", "str"),
        (": Path", "Path"),
        (": Optional[File]", "BufferedReader"),
        (": File", "BufferedReader"),
    ],
)
def test_set_up_is_given_the_weights_that_are_configured(project, annotation, kind):
    source = f"""
        from typing import Optional
        from cog import BasePredictor, File, Path

        class Predictor(BasePredictor):
            def setup(self, weights{annotation} = None):
                self.weights = weights

            def predict(self) -> list:
                return [type(self.weights).__name__, str(getattr(self.weights, "name", self.weights))]
    """
    made = project(source, environ={"COG_WEIGHTS": "trained.bin"})
    made.write("trained.bin", "w")
    with made.serve() as server:
        assert server.predict()["output"] == [kind, "trained.bin"]
