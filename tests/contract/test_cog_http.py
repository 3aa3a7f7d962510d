"""One suite for Cog's HTTP contract, run on drivetrain and on the real servers of both generations.

A case states what a client gets. Where a reference is known to answer otherwise, the case says so (`older`, `newer`), and that is
checked too: when a new release changes its mind, the suite tells.
"""

import base64
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from programs import Program

from drivetrain.environments.uv import uv_binary

pytestmark = pytest.mark.slow

#: What a template does ahead, by the name of the server.
TEMPLATES = {"imports done ahead": "imports", "set-up done ahead": "after-setup"} if sys.platform == "linux" else {}

REFERENCES = {"older": "cog==0.16.12", "newer": "cog==0.23.1"}

SOURCE = """
import os
import sys
from enum import Enum
from typing import Any, Dict, Iterator, List, Optional

from cog import BaseModel, BasePredictor, ConcatenateIterator, Input, Path


class Predictor(BasePredictor):
    def setup(self):
        self.count = 0

    def predict(
        self,
        case: str = Input(description="What to do"),
        text: str = Input(default="text", max_length=20),
        number: int = Input(default=1, ge=0, le=10),
        ratio: float = Input(default=0.5),
        flag: bool = Input(default=False),
        colour: str = Input(default="red", choices=["red", "blue"]),
        image: Optional[Path] = Input(default=None),
        words: List[str] = Input(default=[]),
    ) -> Any:
        return getattr(self, case)(text=text, number=number, ratio=ratio, flag=flag, colour=colour, image=image, words=words)

    def echo(self, **inputs):
        return {name: value for name, value in inputs.items() if name != "image"}

    def kinds(self, **inputs):
        return [type(inputs[name]).__name__ for name in ("text", "number", "ratio", "flag")]

    def nothing(self, **inputs):
        return None

    def zero(self, **inputs):
        return 0

    def empty(self, **inputs):
        return ""

    def false(self, **inputs):
        return False

    def empty_list(self, **inputs):
        return []

    def nested(self, **inputs):
        return {"a": [1, {"b": None}], "c": (1, 2)}

    def read(self, image, **inputs):
        return image.read_text() + image.suffix

    def file(self, text, **inputs):
        path = Path("out.txt")
        path.write_text(text)
        return path

    def fail(self, **inputs):
        print("so far")
        raise ValueError("boom")

    def leave(self, **inputs):
        sys.exit(3)

    def log(self, **inputs):
        print("out")
        print("err", file=sys.stderr)
        return 1

    def parent(self, **inputs):
        return os.getppid()

    def state(self, **inputs):
        self.count += 1
        return self.count >= 1
"""


@dataclass
class Case:
    """Inputs and what is answered; `older` and `newer` hold what a reference answers otherwise, `breaks` which of them end by it."""

    inputs: dict
    status: int = 200
    body: dict = field(default_factory=dict)
    older: dict = field(default_factory=dict)
    newer: dict = field(default_factory=dict)
    breaks: tuple = ()

    def expected(self, name):
        return {"status": self.status, **self.body, **getattr(self, name, {})}


def succeeded(output, **otherwise):
    return Case({}, body={"body.status": "succeeded", "output": output}, **otherwise)


def data_url(text, media_type="text/plain"):
    return f"data:{media_type};base64,{base64.b64encode(text.encode()).decode()}"


def case(name, expected, **inputs):
    expected.inputs = {"case": name, **inputs}
    return expected


CASES = {
    "defaults": case("kinds", succeeded(["str", "int", "float", "bool"])),
    "numbers as text": case("kinds", succeeded(["str", "int", "float", "bool"], newer={"status": 422}), number="5", ratio="0.25"),
    "a whole float for an integer": case(
        "kinds", succeeded(["str", "int", "float", "bool"], newer={"output": ["str", "float", "float", "bool"]}), number=5.0
    ),
    "an integer for a float": case(
        "kinds", succeeded(["str", "int", "float", "bool"], newer={"output": ["str", "int", "int", "bool"]}), ratio=2
    ),
    "a fraction for an integer": case("kinds", Case({}, status=422), number=5.5),
    "a word for an integer": case("kinds", Case({}, status=422), number="five"),
    "above a bound": case("kinds", Case({}, status=422), number=11),
    "below a bound": case("kinds", Case({}, status=422), number=-1),
    "at a bound": case("kinds", succeeded(["str", "int", "float", "bool"]), number=10),
    "too long": case("kinds", Case({}, status=422), text="x" * 21),
    "a choice": case(
        "echo", succeeded({"text": "text", "number": 1, "ratio": 0.5, "flag": False, "colour": "blue", "words": []}), colour="blue"
    ),
    "no choice": case("echo", Case({}, status=422), colour="green"),
    "an unknown input": case("kinds", succeeded(["str", "int", "float", "bool"]), nonsense=1),
    "a list": case(
        "echo",
        succeeded({"text": "text", "number": 1, "ratio": 0.5, "flag": False, "colour": "red", "words": ["a", "b"]}),
        words=["a", "b"],
    ),
    "a list of the wrong things": case("echo", Case({}, status=422, newer={"status": 422}), words=[[1]]),
    "a required input missing": Case({}, status=422),
    "null for what has a default": case("kinds", Case({}, status=422), number=None),
    "none": case("nothing", succeeded(None)),
    "zero is kept": case("zero", succeeded(0, older={"output": None})),
    "empty text is kept": case("empty", succeeded("", older={"output": None})),
    "false is kept": case("false", succeeded(False, older={"output": None})),
    "an empty list is kept": case("empty_list", succeeded([], older={"output": None})),
    "nested values": case("nested", succeeded({"a": [1, {"b": None}], "c": [1, 2]})),
    "a file in": case("read", succeeded("hello.txt"), image=data_url("hello")),
    "a picture in": case("read", succeeded("x.jpg"), image=data_url("x", "image/jpeg")),
    "a modern picture in": case("read", succeeded("x.webp"), image=data_url("x", "image/webp")),
    "a file out": case("file", succeeded(data_url("hello")), text="hello"),
    "an exception": case(
        "fail",
        Case(
            {},
            body={"body.status": "failed", "error": "boom", "output": None},
            newer={"error": "Prediction failed: Prediction failed: ValueError: boom"},
        ),
    ),
    "an exit": case("leave", Case({}, body={"body.status": "failed"}, breaks=("older",))),
    "state is kept": case("state", succeeded(True)),
}


@pytest.fixture(scope="session")
def reference_pythons(tmp_path_factory):
    """Interpreters with the real packages, from the package registry."""
    pythons = {}
    for name, requirement in REFERENCES.items():
        directory = tmp_path_factory.mktemp("references") / name
        subprocess.run([uv_binary(), "venv", "--quiet", "--python", sys.executable, directory], check=True)
        python = directory / "bin" / "python"
        subprocess.run([uv_binary(), "pip", "install", "--quiet", "--python", python, requirement], check=True)
        pythons[name] = python
    return pythons


@pytest.fixture(scope="session", params=["drivetrain", *TEMPLATES, "older", "newer"])
def server(request, tmp_path_factory):
    """A base URL of a server of the fixture project, and which one it is."""
    root = tmp_path_factory.mktemp("project")
    (root / "predict.py").write_text(SOURCE)
    (root / "cog.yaml").write_text('build:\n  python_version: "3.11"\npredict: predict.py:Predictor\n')
    if request.param == "drivetrain":
        yield from serve_ours(root)
        return
    if request.param in TEMPLATES:
        yield from serve_forks(root, TEMPLATES[request.param])
        return
    python = request.getfixturevalue("reference_pythons")[request.param]
    yield from serve_reference(root, request.param, python)


def serve_forks(root, snapshot):
    """As ours, with workers that are forked from a template; what it is to import is learnt first."""
    cache = root.parent / f"{root.name}-cache"
    options = ("--snapshot", snapshot), {"DRIVETRAIN_CACHE_DIR": str(cache)}
    if snapshot == "imports":
        for _ in serve_ours(root, *options):
            while not list(cache.glob("imports/*.json")):
                pass
    for which, client in serve_ours(root, *options):
        assert "template" in worker_parent(client), "the worker was not forked"
        yield which, client


def worker_parent(client):
    """How the worker's parent was started."""
    parent = ask(client, {"case": "parent"}).json()["output"]
    return Path(f"/proc/{parent}/cmdline").read_text().split("\0")


def serve_ours(root, options=(), variables=None):
    command = [Path(sys.executable).parent / "drivetrain", "serve", "--env", "host", "--port", "0", *options]
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **(variables or {})}
    with Program(command, cwd=root, env=environ, stderr=subprocess.PIPE, text=True) as process:
        base = process.stderr.readline().split()[-1]
        yield from when_ready("drivetrain", base)
        process.terminate()


def serve_reference(root, name, python):
    """Start a real server; the newer one is given the schema that its build step would have baked in."""
    port = free_port()
    document = subprocess.run([sys.executable, "-c", DOCUMENT, str(root)], check=True, capture_output=True, text=True).stdout
    (root / ".cog").mkdir()
    (root / ".cog" / "openapi_schema.json").write_text(document)
    environ = {
        **os.environ,
        "PORT": str(port),
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "COG_PREDICT_TYPE_STUB": "predict.py:Predictor",
    }
    with Program(
        [python, "-m", "cog.server.http", "--host", "127.0.0.1"],
        cwd=root,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        yield from when_ready(name, f"http://127.0.0.1:{port}")
        process.terminate()


DOCUMENT = """
import json, pathlib, sys
from drivetrain.dialects.cog.openapi import openapi_document
from drivetrain.dialects.cog.static_reading import read_statically
reading = read_statically(pathlib.Path(sys.argv[1]), "predict.py", "Predictor", mode="predict")
print(json.dumps(openapi_document(reading.signature, None, version="0")))
"""


def when_ready(name, base):
    with httpx.Client(base_url=base, timeout=30) as client:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if client.get("/health-check").json()["status"] == "READY":
                    yield name, client
                    return
            except httpx.TransportError:
                pass  # not listening yet: the refused connection is the signal to ask again
    raise AssertionError(f"the {name} server did not get ready")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(client, inputs):
    """The answer, and again while a reference says for some milliseconds after its last answer that it is still busy."""
    while (answer := client.post("/predictions", json={"input": inputs})).status_code == 409:
        pass
    return answer


@pytest.mark.parametrize("name", CASES)
def test_an_answer_is_what_the_contract_says(server, name):
    which, client = server
    case = CASES[name]
    if which in case.breaks:
        pytest.skip(f"the {which} server does not survive this")
    answer = ask(client, case.inputs)
    expected = case.expected(which)
    got = {"status": answer.status_code}
    if answer.status_code == 200:
        body = answer.json()
        got |= {"body.status": body["status"], "output": body.get("output"), "error": body.get("error")}
    if expected["status"] != 200:
        expected = {"status": expected["status"]}
    assert {key: got.get(key) for key in expected} == expected, json.dumps(case.inputs)


def test_logs_hold_both_streams(server):
    which, client = server
    logs = ask(client, {"case": "log"}).json()["logs"]
    assert sorted(logs.splitlines()) == ["err", "out"]
    if which == "drivetrain":
        assert logs == "out\nerr\n"


def test_a_failed_answer_keeps_its_logs(server):
    which, client = server
    logs = ask(client, {"case": "fail"}).json()["logs"]
    assert ("so far" in logs, "Traceback" in logs) == ((False, False) if which == "newer" else (True, True))


@pytest.mark.parametrize("path", ["/", "/health-check", "/openapi.json"])
def test_what_describes_the_model_is_there(server, path):
    _, client = server
    assert client.get(path).status_code == 200


def test_an_asynchronous_prediction_is_accepted(server):
    _, client = server
    while (
        answer := client.post("/predictions", json={"id": "later", "input": {"case": "zero"}}, headers={"Prefer": "respond-async"})
    ).status_code == 409:
        pass
    assert (answer.status_code, answer.json()["id"]) == (202, "later")


def test_an_id_in_the_body_must_be_that_of_the_url(server):
    _, client = server
    answer = client.put("/predictions/mine", json={"id": "yours", "input": {"case": "zero"}})
    assert answer.status_code == 422
    assert "prediction ID must match the ID supplied in the URL" in answer.text


def test_canceling_what_is_not_there_is_a_404(server):
    _, client = server
    assert client.post("/predictions/nothing/cancel").status_code == 404
