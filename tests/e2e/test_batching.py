"""Predictions that wait are run together, and told apart in all that comes of it."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

METHOD = """
    import os
    from cog import BasePredictor, current_scope

    class Predictor(BasePredictor):
        def predict(self, text: str, n: int = 1) -> str:
            return "alone:" + text * n

        def predict_batch(self, inputs: list) -> list:
            print("batch of", len(inputs))
            current_scope().record_metric("batch", len(inputs))
            if any(each["text"] == "poison" for each in inputs):
                raise ValueError("poisoned")
            return [ValueError("mine alone") if each["text"] == "bad" else each["text"] * each["n"] for each in inputs]
"""

ASYNC = METHOD.replace("def predict", "async def predict")

LISTS = """
    from typing import List

    class Predictor:
        def predict(self, text: List[str], n: List[int] = [2]) -> List[str]:
            print("batch of", len(text))
            return [each * count for each, count in zip(text, n)]
"""

CONFIG = "predict: predict.py:Predictor\nconcurrency:\n  batch: {max_size: 4, max_wait_ms: 2000}\n"


def predict_all(server, inputs):
    with ThreadPoolExecutor(len(inputs)) as pool:
        return list(pool.map(lambda each: server.predict(**each), inputs))


@pytest.mark.parametrize("source", [METHOD, ASYNC], ids=["sync", "async"])
def test_predictions_that_come_together_run_together(project, source):
    with project(source, config=CONFIG).serve() as server:
        bodies = predict_all(server, [{"text": letter, "n": 2} for letter in "abcd"])
    assert [body["output"] for body in bodies] == ["aa", "bb", "cc", "dd"]
    assert {body["logs"] for body in bodies} == {"batch of 4\n"}
    assert [body["metrics"]["batch"] for body in bodies] == [4] * 4


@pytest.mark.parametrize("source", [METHOD, ASYNC], ids=["sync", "async"])
def test_an_error_in_a_result_fails_its_prediction_alone(project, source):
    with project(source, config=CONFIG).serve() as server:
        bodies = predict_all(server, [{"text": text} for text in ("a", "bad", "c", "d")])
    assert [body["output"] for body in bodies] == ["a", None, "c", "d"]
    assert bodies[1]["error"] == "mine alone"


@pytest.mark.parametrize("source", [METHOD, ASYNC], ids=["sync", "async"])
def test_a_batch_that_raises_is_run_one_by_one_and_says_so(project, source):
    with project(source, config=CONFIG).serve() as server:
        bodies = predict_all(server, [{"text": text} for text in ("a", "poison", "c", "d")])
    assert [(body["status"], body["output"]) for body in bodies] == [
        ("succeeded", "a"),
        ("failed", None),
        ("succeeded", "c"),
        ("succeeded", "d"),
    ]
    assert all("one by one" in body["logs"] for body in bodies)


def test_what_is_written_between_batches_is_the_servers(project):
    source = (
        METHOD
        + """
        def setup(self):
            import threading
            threading.Thread(target=lambda: print("between batches", open("gate").read()), daemon=True).start()
"""
    )
    made = project(source, config=CONFIG)
    os.mkfifo(made.root / "gate")
    with made.serve() as server:
        predict_all(server, [{"text": letter} for letter in "abcd"])
        (made.root / "gate").write_text("")
        server.wait_for("between batches")


def test_one_alone_waits_no_longer_than_it_must(project):
    config = CONFIG.replace("2000", "1")
    with project(METHOD, config=config).serve() as server:
        assert server.predict(text="a", n=3)["output"] == "alone:aaa"


def test_a_predictor_that_takes_lists_is_asked_for_single_values(project):
    with project(LISTS, config=CONFIG).serve() as server:
        schemas = server.client.get("/openapi.json").json()["components"]["schemas"]
        assert schemas["Input"]["properties"]["text"]["type"] == "string"
        assert schemas["Input"]["properties"]["n"]["default"] == 2
        bodies = predict_all(server, [{"text": "a"}, {"text": "b", "n": 1}, {"text": "c"}, {"text": "d"}])
    assert [body["output"] for body in bodies] == ["aa", "b", "cc", "dd"]
    assert bodies[0]["logs"] == "batch of 4\n"


def test_a_predictor_that_takes_lists_is_given_single_values_on_the_command_line(project):
    made = project(LISTS, config=CONFIG)
    made.write("in.jsonl", '{"text": "a"}\n{"text": "b", "n": 1}\n')
    alone = made.run("--json", '{"text": "hi"}')
    assert alone.returncode == 0, alone.stderr
    assert json.loads(alone.stdout)["output"] == "hihi"
    assert [json.loads(line)["output"] for line in made.run("--batch", "in.jsonl").stdout.splitlines()] == ["aa", "b"]
    shown = json.loads(made.cli("debug").stdout)["signatures"]["predict"]["openapi"]["components"]["schemas"]
    assert shown["Input"]["properties"]["text"]["type"] == shown["Output"]["type"] == "string"


def test_one_of_a_batch_can_be_canceled_without_the_others(project):
    source = """
        class Predictor:
            def predict(self, gate: str) -> str:
                return self.predict_batch([{"gate": gate}])[0]

            def predict_batch(self, inputs):
                print("begun", flush=True)
                open(inputs[0]["gate"]).read()
                return ["done"] * len(inputs)
    """
    made = project(source, config=CONFIG.replace("max_size: 4", "max_size: 2"))
    gate = made.root / "gate"
    os.mkfifo(gate)
    with made.serve() as server:
        ids = [server.predict(_prefer="respond-async", gate=str(gate))["id"] for _ in range(2)]
        server.wait_until(ids[0], lambda body: body["logs"])
        server.client.post(f"/predictions/{ids[0]}/cancel")
        assert server.client.get(f"/predictions/{ids[0]}").json()["status"] == "canceled"
        gate.write_text("")
        assert server.wait_until(ids[1], lambda body: body["status"] != "processing")["output"] == "done"
        server.wait_for_health("READY")
