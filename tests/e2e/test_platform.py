"""A platform from the outside: up, deploy, call, and everything else that a user does, against one that runs."""

import json
import os
import queue
import re
import signal
import stat
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

pytestmark = pytest.mark.slow

ECHO = """
    import sys, time
    from pathlib import Path as FilePath
    from cog import BasePredictor, Input

    class Predictor(BasePredictor):
        def setup(self):
            print("setting up")

        def predict(self, text: str = Input(description="What to say"), times: int = Input(default=1, ge=1), hold: str = "") -> str:
            print("saying", text)
            if hold:
                FilePath(hold + ".begun").touch()
                while not FilePath(hold).exists():
                    time.sleep(0.01)
            if text == "fail":
                raise ValueError("it was told to fail")
            return " ".join([text] * times)
"""
WORDS = """
    from typing import Iterator
    from cog import BasePredictor, ConcatenateIterator

    class Predictor(BasePredictor):
        def predict(self, text: str) -> ConcatenateIterator[str]:
            for word in text.split():
                yield word + " "
"""
PICTURES = """
    from cog import BasePredictor, Path

    class Predictor(BasePredictor):
        def predict(self, image: Path, copies: int = 1) -> list[Path]:
            made = []
            for number in range(copies):
                path = Path(f"copy-{number}.txt")
                path.write_bytes(image.read_bytes().upper())
                made.append(path)
            return made
"""


@pytest.fixture(scope="module")
def echo(running):
    running.deploy("echo", ECHO, "--max", "2")
    return "me/echo"


def test_a_deployment_tells_what_it_does_and_ends_with_calls_to_paste(running):
    done = running.deploy("told", ECHO)
    for said in ("Sending 2 files", "Building its environment", "setting up", "Deployed me/told, revision 1"):
        assert said in done.stderr
    assert done.stdout.startswith(f"{running.url}/api/v1/apps/me/told\n")
    assert "drivetrain call me/told -i text=text" in done.stdout
    assert "replicate.Client(base_url=" in done.stdout
    curl = done.stdout[done.stdout.index("curl") : done.stdout.index("\n\n#")]
    answer = subprocess.run(
        ["bash", "-c", curl], capture_output=True, text=True, env={**os.environ, "DRIVETRAIN_API_KEY": running.key}, check=True
    )
    assert json.loads(answer.stdout)["output"] == "text"


def test_a_call_prints_the_output_and_passes_on_the_log(running, echo):
    done = running.cli("call", echo, "-i", "text=hello", "-i", "times=2")
    assert (done.stdout, done.stderr) == ("hello hello\n", "saying hello\n")


def test_an_app_without_owner_is_the_keys_owners(running, echo):
    assert running.cli("call", "echo", "-i", "text=hi").stdout == "hi\n"


def test_a_call_prints_json_and_takes_it(running, echo):
    done = running.cli("call", echo, "--json", '{"text": "a", "times": 3}')
    printed = json.loads(done.stdout)
    assert (printed["status"], printed["output"]) == ("succeeded", "a a a")
    assert running.json("predictions", "get", printed["id"])["input"] == {"text": "a", "times": 3}
    done = running.cli("call", echo, "--json", '{"text": "b"}', "-o", "answer.json")
    assert done.stdout == ""
    assert json.loads((running.directory / "answer.json").read_text())["output"] == "b"


def test_inputs_that_do_not_fit_are_misuse_and_nothing_is_run(running, echo):
    before = len(running.json("predictions", "list", "--app", echo))
    done = running.cli("call", echo, "-i", "tekst=x", "-i", "times=0", status=2)
    assert "'tekst': is not an input of the model; did you mean 'text'?" in done.stderr
    assert "'times'" in done.stderr
    assert len(running.json("predictions", "list", "--app", echo)) == before


def test_over_http_inputs_are_checked_too(running, echo):
    answer = running.http.post("/api/v1/apps/me/echo/predictions", json={"input": {"times": "many"}})
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert error["code"] == "invalid_inputs"
    assert {problem["location"][0] for problem in error["problems"]} == {"text", "times"}


def test_a_failure_of_the_model_is_told_with_its_log(running, echo):
    done = running.cli("call", echo, "-i", "text=fail", status=1)
    assert "the prediction failed: it was told to fail" in done.stderr
    assert "saying fail" in done.stderr
    assert done.stdout == ""


def test_text_is_printed_piece_by_piece(running):
    running.deploy("words", WORDS)
    assert running.cli("call", "me/words", "-i", "text=one two").stdout == "one two \n"


def test_files_go_up_and_come_down(running):
    running.deploy("pictures", PICTURES)
    (running.directory / "picture.txt").write_text("cat")
    running.cli("call", "me/pictures", "-i", "image=@picture.txt", "-i", "copies=2")
    assert [(running.directory / f"output.{number}.txt").read_text() for number in (0, 1)] == ["CAT", "CAT"]
    done = running.json("call", "me/pictures", "-i", "image=data:text/plain,dog", "-o", "dog.txt")
    assert (running.directory / done["output"][0]).read_text() == "DOG"


def test_an_output_file_can_be_an_input(running):
    running.deploy("pictures", PICTURES)
    url = running.predict("pictures", image="data:text/plain,bird")["output"][0]
    again = running.predict("pictures", image=url)["output"][0]
    assert httpx.get(again).text == "BIRD"
    assert httpx.get(again.replace("signature=", "signature=x")).status_code == 403


def test_an_id_is_printed_and_asked_for_later(running, echo):
    prediction_id = running.cli("call", echo, "-i", "text=later", "--async").stdout.strip()
    done = running.cli("predictions", "get", prediction_id, "--wait")
    assert done.stdout == "later\n"
    assert f"me/echo {prediction_id} succeeded in" in done.stderr


def until_begun(hold):
    while not hold.with_name(hold.name + ".begun").exists():
        pass


def test_ctrl_c_cancels_the_prediction(running, echo, tmp_path):
    call = running.start("call", echo, "-i", "text=x", "-i", f"hold={tmp_path / 'hold'}")
    until_begun(tmp_path / "hold")
    call.send_signal(signal.SIGINT)
    _, stderr = call.communicate(timeout=60)
    assert call.returncode == 1
    assert "Canceling the prediction" in stderr
    assert "the prediction was canceled" in stderr
    assert running.json("predictions", "list", "--app", echo, "-n", "1")[0]["status"] == "canceled"


def test_a_prediction_is_canceled_where_it_waits_and_where_it_runs(running, echo, tmp_path):
    running.cli("scale", echo, "--max", "1")
    running_one = running.predict("echo", wait=0, text="a", hold=str(tmp_path / "hold"))
    until_begun(tmp_path / "hold")
    waiting_one = running.predict("echo", wait=0, text="b")
    assert waiting_one["queue_position"] == 0
    for prediction in (waiting_one, running_one):
        running.cli("predictions", "cancel", prediction["id"])
        assert running.prediction(prediction["id"])["status"] == "canceled"
    running.cli("scale", echo, "--max", "2")


def test_a_client_that_hangs_up_loses_only_the_answer(running, echo, tmp_path):
    body = {"input": {"text": "unheard", "hold": str(tmp_path / "hold")}}
    with pytest.raises(httpx.ReadTimeout):
        running.http.post("/api/v1/apps/me/echo/predictions?wait", json=body, timeout=1)
    (tmp_path / "hold").touch()
    newest = running.json("predictions", "list", "--app", echo, "-n", "1")[0]
    assert running.prediction(newest["id"])["output"] == "unheard"


def test_what_waits_is_shown(running, echo, tmp_path):
    holds = [tmp_path / f"hold-{number}" for number in range(2)]
    held = [running.predict("echo", wait=0, text="x", hold=str(hold)) for hold in holds]
    list(map(until_begun, holds))
    waiting = [running.predict("echo", wait=0, text="x") for _ in range(3)]
    (load,) = running.json("queue")
    assert (load["app"], load["waiting"], load["running"]) == (echo, 3, 2)
    assert "me/echo" in running.cli("queue").stdout
    assert [running.prediction(each["id"], wait=0)["queue_position"] for each in waiting] == [0, 1, 2]
    for hold in holds:
        hold.touch()
    assert {running.prediction(each["id"])["status"] for each in (*held, *waiting)} == {"succeeded"}


def test_the_same_request_with_an_idempotency_key_runs_once(running, echo):
    first, again = (running.predict("echo", headers={"Idempotency-Key": "k-1"}, text="once") for _ in range(2))
    assert first["id"] == again["id"]
    other = running.http.post(
        "/api/v1/apps/me/echo/predictions", json={"input": {"text": "other"}}, headers={"Idempotency-Key": "k-1"}
    )
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")


def events_of(running, prediction_id, **headers):
    with running.http.stream("GET", f"/api/v1/predictions/{prediction_id}/events", headers=headers) as answer:
        text = answer.read().decode()
    blocks = [block for block in text.split("\n\n") if "event: " in block]
    return [
        (
            re.search(r"^id: (.*)$", block, re.M)[1],
            re.search(r"^event: (.*)$", block, re.M)[1],
            json.loads(re.search(r"^data: (.*)$", block, re.M)[1]),
        )
        for block in blocks
    ]


def test_events_are_streamed_from_the_first_and_continued_after_any(running):
    running.deploy("words", WORDS)
    prediction = running.predict("words", text="one two three")
    events = events_of(running, prediction["id"])
    assert [name for _, name, _ in events] == ["start", *["output"] * 3, "completed"]
    assert "".join(data["value"] for _, name, data in events if name == "output") == "one two three "
    assert events_of(running, prediction["id"], **{"Last-Event-ID": events[2][0]}) == events[3:]


def test_events_of_a_prediction_that_never_ran_end(running, echo, tmp_path):
    running.cli("scale", echo, "--max", "1")
    held = running.predict("echo", wait=0, text="a", hold=str(tmp_path / "hold"))
    until_begun(tmp_path / "hold")
    waiting = running.predict("echo", wait=0, text="b")
    running.cli("predictions", "cancel", waiting["id"])
    with running.http.stream("GET", f"/api/v1/predictions/{waiting['id']}/events") as answer:
        assert '"status":"canceled"' in answer.read().decode()
    (tmp_path / "hold").touch()
    assert running.prediction(held["id"])["status"] == "succeeded"
    running.cli("scale", echo, "--max", "2")


def test_predictions_are_listed_page_by_page(running, echo):
    made = [running.predict("echo", text=str(number))["id"] for number in range(5)]
    found, cursor = [], None
    while len(found) < 5:
        page = running.http.get(
            "/api/v1/predictions", params={"app": echo, "limit": 2, **({"cursor": cursor} if cursor else {})}
        ).json()
        found += [each["id"] for each in page["results"]]
        cursor = page["next"]
    assert found[:5] == made[::-1]
    assert "output" not in page["results"][0]


def test_what_runs_is_listed_for_people_and_for_programs(running, echo):
    running.predict("echo", text="x")
    for command in (
        ("apps",),
        ("apps", echo),
        ("runners",),
        ("predictions", "list"),
        ("secrets", "list"),
        ("keys", "list"),
        ("queue",),
    ):
        assert isinstance(running.json(*command), list | dict)
        assert running.cli(*command).stdout.strip()
    assert running.json("apps", echo)["alias"][0]["percent"] == 100
    assert any(runner["app"] == echo for runner in running.json("runners")["results"])


def test_logs_have_what_runners_wrote_in_set_up(running, echo):
    running.predict("echo", text="x")
    assert "setting up" in running.cli("logs", echo).stdout
    line = json.loads(running.cli("logs", echo, "--json").stdout.splitlines()[0])
    assert set(line) == {"at", "runner", "text"}


def test_logs_are_followed(running):
    following = None
    running.deploy("followed", ECHO)
    following = running.start("logs", "me/followed", "-f")
    try:
        assert "setting up" in following.stdout.readline()
        runner = next(each for each in running.json("runners")["results"] if each["app"] == "me/followed")
        running.cli("runners", "--stop", runner["id"], "--now")
        running.predict("followed", text="x")
        assert "setting up" in following.stdout.readline()
    finally:
        following.send_signal(signal.SIGINT)
        following.communicate(timeout=30)
    assert following.returncode == 130


def test_a_failed_set_up_leaves_what_was_deployed_before(running):
    running.deploy("steady", ECHO)
    broken = ECHO.replace('print("setting up")', 'raise RuntimeError("no such weights")')
    done = running.deploy("steady", broken, status=1)
    assert "no such weights" in done.stderr
    assert "error: " in done.stderr
    assert running.cli("call", "me/steady", "-i", "text=still here").stdout == "still here\n"
    states = {each["number"]: each["state"] for each in running.json("apps", "me/steady")["revisions"]}
    assert states == {1: "ready", 2: "failed"}


def test_a_project_that_cannot_be_read_is_refused_with_its_findings(running):
    root = running.project("unreadable", ECHO, config="predict: predict.py:Predictor\nconcurrency: 0\n")
    done = running.cli("deploy", str(root), "--name", "me/unreadable", status=1)
    assert "concurrency" in done.stderr


def test_what_must_not_leave_this_machine_is_not_sent(running):
    root = running.project("careful", ECHO)
    (root / ".env").write_text("TOKEN=secret")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("x")
    (root / "notes.txt").write_text("x")
    (root / ".dockerignore").write_text("notes.txt\n")
    done = running.cli("deploy", str(root), "--name", "me/careful")
    assert "'.env'" in done.stderr
    sources = [path.name for path in running.state.glob("sources/*/*")]
    assert {".env", ".git", "notes.txt"}.isdisjoint(sources)


def test_links_that_lead_out_of_the_project_are_errors(running):
    root = running.project("linked", ECHO)
    (root / "passwords").symlink_to("/etc/passwd")
    done = running.cli("deploy", str(root), "--name", "me/linked", status=1)
    assert "'passwords' leads to '/etc/passwd'" in done.stderr


def test_the_same_project_twice_is_one_revision(running):
    first = running.json("apps", "me/echo")["alias"] if "me/echo" in running.cli("apps").stdout else None
    running.deploy("same", ECHO)
    done = running.deploy("same", ECHO)
    assert "Switched to what was deployed before: me/same, revision 1" in done.stderr
    assert first is None or running.json("apps", "me/echo")["alias"] == first


def test_an_earlier_revision_answers_again_and_shares_requests(running):
    running.deploy("turns", ECHO)
    running.deploy("turns", ECHO.replace("[text]", "[text.upper()]"))
    assert running.cli("call", "me/turns", "-i", "text=a").stdout == "A\n"
    assert "revision 1 answers 100 %" in running.cli("rollback", "me/turns").stderr
    assert running.cli("call", "me/turns", "-i", "text=a").stdout == "a\n"
    running.cli("rollback", "me/turns", "--to", "2")
    assert running.cli("call", "me/turns", "-i", "text=a").stdout == "A\n"
    shares = running.json("rollback", "me/turns", "--split", "1=50", "--split", "2=50")["alias"]
    assert [(share["number"], share["percent"]) for share in shares] == [(1, 50), (2, 50)]
    assert "there is no revision '7'" in running.cli("rollback", "me/turns", "--to", "7", status=2).stderr
    assert "add up to 100" in running.cli("rollback", "me/turns", "--split", "1=50", status=1).stderr


def test_a_revision_that_breaks_clients_is_told_and_refused_if_strict(running):
    running.deploy("promised", ECHO)
    narrower = ECHO.replace("times: int = Input(default=1, ge=1), ", "").replace("* times", "* 1")
    assert "times" in running.deploy("promised", narrower, "--strict", status=1).stderr
    assert running.predict("promised", text="a", times=2)["output"] == "a a"
    assert "times" in running.deploy("promised", narrower).stderr


def test_settings_are_changed_at_once(running, echo):
    done = running.cli("scale", echo, "--keep-alive", "30", "--access", "shared")
    assert done.stderr == "me/echo: keep_alive is 30.0, access is shared\n"
    assert running.json("apps", echo)["scaling"]["keep_alive"] == 30
    assert "above the maximum" in running.cli("scale", echo, "--min", "9", status=1).stderr
    assert "nothing to change" in running.cli("scale", echo, status=2).stderr
    running.cli("scale", echo, "--access", "private")


def test_an_app_is_removed_with_what_waits(running):
    running.deploy("gone", ECHO)
    assert "--yes" in running.cli("rm", "me/gone", status=2).stderr
    running.cli("rm", "me/gone", "--yes")
    assert "me/gone" not in running.cli("apps").stdout
    assert "there is no app 'me/gone'" in running.cli("call", "me/gone", "-i", "text=x", status=1).stderr


SECRETIVE = """
    import os
    from cog import BasePredictor

    class Predictor(BasePredictor):
        def predict(self) -> str:
            return "length %d" % len(os.environ.get("API_TOKEN", "")) + " " + os.environ.get("OWN", "none")
"""


def test_secrets_reach_the_model_and_are_shown_nowhere(running):
    value = "very-secret-value-7"
    running.cli("secrets", "set", "API_TOKEN", stdin=value + "\n")
    running.cli("secrets", "set", "OWN", "--app", "me/secretive", stdin="mine")
    running.deploy("secretive", SECRETIVE)
    assert running.cli("call", "me/secretive").stdout == f"length {len(value)} mine\n"
    shown = [
        running.cli(*command).stdout for command in (("secrets", "list"), ("secrets", "list", "--json"), ("logs", "me/secretive"))
    ]
    assert "API_TOKEN" in shown[0]
    assert not any(value in text for text in (*shown, *running.lines))
    assert value not in subprocess.run(["ps", "axww"], capture_output=True, text=True, check=True).stdout
    for path in running.state.rglob("*"):
        if path.is_file():
            assert value.encode() not in path.read_bytes(), path
    running.cli("secrets", "rm", "API_TOKEN")
    assert "there is no secret 'API_TOKEN'" in running.cli("secrets", "rm", "API_TOKEN", status=1).stderr
    assert "not part of the command" in running.cli("secrets", "set", "A=b", status=2).stderr


def test_a_key_lets_in_only_whom_it_says(running, echo):
    alice = running.json("keys", "add", "--owner", "alice", "--scope", "deploy", "--name", "laptop")
    as_alice = {"DRIVETRAIN_API_KEY": alice["key"]}
    assert alice["key"] not in running.cli("keys", "list", "--json").stdout
    assert "me/echo" not in running.cli("apps", **as_alice).stdout
    assert "there is no app 'me/echo'" in running.cli("call", echo, "-i", "text=x", status=1, **as_alice).stderr
    assert (
        "this key is for 'alice'"
        in running.cli("deploy", str(running.project("p", ECHO)), "--name", "me/p", status=1, **as_alice).stderr
    )
    mine = running.predict("echo", text="x")["id"]
    assert "there is no prediction" in running.cli("predictions", "get", mine, status=1, **as_alice).stderr
    assert "scope 'admin'" in running.cli("predictions", "deliveries", status=1, **as_alice).stderr
    call_only = running.json("keys", "add", "--owner", "me")["key"]
    assert running.cli("call", echo, "-i", "text=x", DRIVETRAIN_API_KEY=call_only).stdout == "x\n"
    assert (
        "needs a key of scope 'deploy'" in running.cli("scale", echo, "--max", "3", status=1, DRIVETRAIN_API_KEY=call_only).stderr
    )
    running.cli("keys", "revoke", alice["id"])
    assert "it may have been revoked" in running.cli("apps", status=1, **as_alice).stderr


@pytest.mark.parametrize(("key", "said"), [("dt_" + "x" * 40, "not known here"), ("hunter2", "they begin with 'dt_'")])
def test_a_wrong_key_is_told_as_such(running, key, said):
    answer = httpx.get(f"{running.url}/api/v1/apps", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 401
    assert said in answer.json()["error"]["message"]


def test_who_may_call_an_app_is_its_owners_decision(running, echo):
    stranger = running.json("keys", "add", "--owner", "bob")["key"]

    def status(key):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.post(
            f"{running.url}/api/v1/apps/me/echo/predictions?wait", json={"input": {"text": "x"}}, headers=headers, timeout=60
        ).status_code

    seen = {}
    for access in ("private", "shared", "public"):
        running.cli("scale", echo, "--access", access)
        seen[access] = (status(stranger), status(None))
    running.cli("scale", echo, "--access", "private")
    assert seen == {"private": (403, 404), "shared": (201, 404), "public": (201, 201)}


def test_a_key_with_a_limit_is_told_when_to_come_back(running, echo):
    limited = running.json("keys", "add", "--owner", "me", "--requests-per-minute", "2")["key"]
    answers = [
        httpx.post(
            f"{running.url}/api/v1/apps/me/echo/predictions",
            json={"input": {"text": "x"}},
            headers={"Authorization": f"Bearer {limited}"},
        )
        for _ in range(3)
    ]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert 1 <= int(answers[2].headers["retry-after"]) <= 60


def test_a_full_queue_is_told_as_such(running, tmp_path):
    running.deploy("crowded", ECHO, "--queue-limit", "1")
    running.predict("crowded", wait=0, text="a", hold=str(tmp_path / "hold"))
    until_begun(tmp_path / "hold")
    running.predict("crowded", wait=0, text="b")
    answer = running.http.post("/api/v1/apps/me/crowded/predictions", json={"input": {"text": "c"}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "queue_full")
    (tmp_path / "hold").touch()


@pytest.fixture
def receiver():
    """Takes webhooks; what came is in its queue."""
    received = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            received.put((dict(self.headers), json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", received
        server.shutdown()


def test_a_webhook_tells_of_the_end_and_is_sent_again(running, echo, receiver):
    url, received = receiver
    body = {"input": {"text": "tell"}, "webhook": url, "webhook_events_filter": ["completed"]}
    prediction = running.http.post("/api/v1/apps/me/echo/predictions", json=body).json()
    headers, told = received.get(timeout=30)
    assert told == running.prediction(prediction["id"])
    assert headers["webhook-signature"].startswith("v1,")
    deliveries = running.json("predictions", "deliveries", prediction["id"])
    while deliveries[0]["state"] != "delivered":
        deliveries = running.json("predictions", "deliveries", prediction["id"])
    running.cli("predictions", "resend", deliveries[0]["id"])
    again, _ = received.get(timeout=30)
    assert again["webhook-id"] == headers["webhook-id"]
    assert "delivered" in running.cli("predictions", "deliveries").stdout


def test_what_is_at_work_can_be_measured(running, echo):
    running.predict("echo", text="x")
    assert httpx.get(f"{running.url}/healthz").json() == {"status": "alive"}
    assert httpx.get(f"{running.url}/metrics").status_code == 401
    page = running.http.get("/metrics").text
    assert re.search(r'^drivetrain_app_runners\{app="me/echo",state="ready"\} [1-9]', page, re.M)
    assert re.search(r'^drivetrain_queue_size\{app="me/echo"\} 0', page, re.M)
    assert re.search(r'^drivetrain_app_requests_total\{app="me/echo",status="succeeded"\} [1-9]', page, re.M)
    assert re.search(r'^drivetrain_app_wait_seconds_count\{app="me/echo"\} [1-9]', page, re.M)
    assert re.search(r'^drivetrain_cold_starts_total\{result="ready"\} [1-9]', page, re.M)
    assert re.search(r'^drivetrain_http_requests_total\{gateway="native",method="POST",status="201"\} [1-9]', page, re.M)
    assert re.search(r'^drivetrain_http_request_seconds_bucket\{gateway="native",le="0.001"\}', page, re.M)


def test_what_was_done_is_written_down(running, echo):
    running.cli("scale", echo, "--max", "2")
    lines = running.http.get("/api/v1/audit").json()["results"]
    assert any(line["action"] == "app.change" and line["subject"] == echo for line in lines)


def test_the_key_is_kept_for_its_user_alone(running):
    file = running.home / ".config" / "drivetrain" / "platform.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(running.state.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/v1/nothing", None, 404),
        ("DELETE", "/api/v1/apps", None, 405),
        ("GET", "/api/v1/apps/me/none", None, 404),
        ("GET", "/api/v1/apps/ME/none", None, 400),
        ("GET", "/api/v1/predictions/none", None, 404),
        ("GET", "/api/v1/predictions?limit=0", None, 422),
        ("GET", "/api/v1/predictions?cursor=x", None, 422),
        ("GET", "/api/v1/predictions?status=done", None, 422),
        ("POST", "/api/v1/keys", {"scope": "root"}, 422),
        ("POST", "/api/v1/keys", {"scoop": "call"}, 422),
        ("PATCH", "/api/v1/apps/me/echo", {"scaling": {"max_runners": "many"}}, 422),
        ("PATCH", "/api/v1/apps/me/echo", {"scaling": {"most": 1}}, 400),
        ("PUT", "/api/v1/apps/me/x/source?wishes=3", None, 422),
        ("PUT", "/api/v1/secrets/me/not-a-name", {"value": "x"}, 400),
        ("POST", "/api/v1/apps/me/echo/predictions", {"input": {"text": "x"}, "webhook": "ftp://x"}, 422),
        ("POST", "/api/v1/apps/me/echo/predictions?wait=soon", {"input": {"text": "x"}}, 422),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(running, echo, method, path, body, status):
    answer = running.http.request(method, path, json=body)
    assert (answer.status_code, set(answer.json()["error"]) >= {"code", "message", "hint"}) == (status, True), answer.text


def test_an_archive_that_is_none_is_refused(running):
    answer = running.http.put("/api/v1/apps/me/none/source", content=b"not a tar archive" * 100)
    last = json.loads(answer.text.strip().splitlines()[-1])
    assert (last["event"], last["error"]["code"]) == ("error", "bad_archive")
