"""A platform that is stopped, killed, started twice, started where it cannot be."""

import json
import signal
import socket
import subprocess
import threading
from pathlib import Path

import httpx
import pytest
from hangups import hangups

pytestmark = pytest.mark.slow

HELD = """
    import os, time
    from pathlib import Path as FilePath
    from cog import BasePredictor

    class Predictor(BasePredictor):
        def predict(self, text: str, hold: str = "") -> str:
            if hold:
                with open(hold + ".begun", "a") as file:
                    file.write(f"{os.getpid()}\\n")
                while not FilePath(hold).exists():
                    time.sleep(0.01)
            return text
"""


def until_begun(hold, times=1):
    begun = Path(f"{hold}.begun")
    while not begun.exists() or len(begun.read_text().splitlines()) < times:
        pass
    return int(begun.read_text().splitlines()[-1])


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_everything_is_there_after_a_power_cut(platform, tmp_path):
    platform.up()
    key, url = platform.key, platform.url
    platform.cli("secrets", "set", "TOKEN", stdin="x")
    platform.deploy("held", HELD, "--max", "1", "--keep-alive", "600")
    done = platform.predict("held", text="before")
    hold = tmp_path / "hold"
    running = platform.predict("held", wait=0, text="cut off", hold=str(hold))
    waiting = platform.predict("held", wait=0, text="waiting")
    model = until_begun(hold)
    platform.kill()
    platform.up(port=int(url.rpartition(":")[2]))
    assert (platform.key, platform.url) == (key, url)
    assert not is_alive(model), "the model outlived its platform"
    assert platform.prediction(done["id"])["output"] == "before"
    until_begun(hold, times=2)
    hold.touch()
    again = platform.prediction(running["id"])
    assert (again["status"], again["output"], again["attempt"]) == ("succeeded", "cut off", 2)
    assert "was given up" in again["history"][0] or "cut off" in again["history"][0]
    assert platform.prediction(waiting["id"])["output"] == "waiting"
    assert [secret["name"] for secret in platform.json("secrets", "list")] == ["TOKEN"]
    assert platform.json("apps", "me/held")["scaling"]["keep_alive"] == 600
    assert platform.cli("rollback", "me/held", status=1).stderr.startswith("error: 'me/held' has no earlier revision")


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_call_outlives_a_power_cut_and_a_restart_of_the_platform(platform, tmp_path, end):
    platform.up("--stop-grace", "0")
    platform.deploy("held", HELD)
    hold = tmp_path / "hold"
    call = platform.start("call", "me/held", "-i", "text=through", "-i", f"hold={hold}")
    until_begun(hold)
    port = int(platform.url.rpartition(":")[2])
    getattr(platform, end)()
    platform.up(port=port)
    until_begun(hold, times=2)
    hold.touch()
    stdout, stderr = call.communicate(timeout=60)
    assert (call.returncode, stdout) == (0, "through\n"), stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_stopping_lets_what_runs_end_and_answers_who_waits(platform, tmp_path, number):
    with hangups(signal.SIG_DFL):
        platform.up()
    platform.deploy("held", HELD)
    hold = tmp_path / "hold"
    answers = []
    asking = threading.Thread(target=lambda: answers.append(platform.predict("held", text="last", hold=str(hold))))
    asking.start()
    until_begun(hold)
    platform.process.send_signal(number)
    platform.wait_for("Stopping")
    hold.touch()
    asking.join(60)
    assert [(answer["status"], answer["output"]) for answer in answers] == [("succeeded", "last")]
    assert platform.process.wait(60) == 0


def test_started_with_nohup_it_outlives_its_terminal(platform, tmp_path):
    with hangups(signal.SIG_IGN):
        platform.up()
    platform.deploy("held", HELD)
    hold = tmp_path / "hold"
    platform.predict("held", wait=0, text="on", hold=str(hold))
    until_begun(hold)
    platform.process.send_signal(signal.SIGHUP)
    platform.process.send_signal(signal.SIGTERM)  # as the second one that it heeds, it would end it at once
    platform.wait_for("Stopping")
    hold.touch()
    assert platform.process.wait(60) == 0


def test_who_waits_for_what_waits_is_answered_before_the_end(platform, tmp_path):
    platform.up("--stop-grace", "0")
    platform.deploy("held", HELD)
    held = platform.predict("held", wait=0, text="a", hold=str(tmp_path / "hold"))
    until_begun(tmp_path / "hold")
    answers = []
    asking = threading.Thread(target=lambda: answers.append(platform.predict("held", text="b")))
    asking.start()
    while len(platform.json("predictions", "list")) < 2:
        pass
    platform.process.send_signal(signal.SIGTERM)
    asking.join(60)
    platform.stop()
    assert [answer["status"] for answer in answers] == ["starting"]
    (tmp_path / "hold").touch()
    platform.up()
    assert platform.prediction(answers[0]["id"])["output"] == "b"
    assert platform.prediction(held["id"])["output"] == "a"


def test_a_second_signal_ends_it_at_once(platform, tmp_path):
    platform.up()
    platform.deploy("held", HELD)
    platform.predict("held", wait=0, text="a", hold=str(tmp_path / "hold"))
    model = until_begun(tmp_path / "hold")
    platform.process.send_signal(signal.SIGINT)
    platform.wait_for("Stopping")
    platform.process.send_signal(signal.SIGINT)
    assert platform.process.wait(20) == 130
    while is_alive(model):
        pass
    (tmp_path / "hold").touch()


def test_down_stops_it_and_says_so(platform):
    assert "No platform runs on" in platform.cli("down").stderr
    platform.up()
    assert platform.cli("down").stderr == f"Stopped the platform at {platform.url}\n"
    assert platform.process.wait(20) == 0
    assert platform.json("down") == {"stopped": False}
    done = platform.cli("apps", status=1)
    assert f"no platform answers at '{platform.url}'" in done.stderr
    assert "hint: 'drivetrain up' starts one" in done.stderr


def test_a_second_one_on_the_same_state_says_who_has_it(platform):
    platform.up()
    done = platform.cli("up", "--port", "0", status=2)
    assert f"(process {platform.process.pid}, {platform.url})" in done.stderr
    assert "'drivetrain down' stops it" in done.stderr


def test_two_platforms_live_beside_each_other(platform, tmp_path):
    platform.up()
    other = platform.start("up", "--state", str(tmp_path / "other"), "--port", "0")
    try:
        while "Listening on" not in (line := other.stderr.readline()):
            assert line
        known = json.loads((platform.home / ".config" / "drivetrain" / "platform.json").read_text())["platforms"]
        assert [each["state"] for each in known] == [str(tmp_path / "other"), str(platform.state)]
        assert platform.json("apps", "--platform", platform.url) == []
        refused = httpx.get(f"{platform.url}/api/v1/apps", headers={"Authorization": f"Bearer {known[0]['key']}"})
        assert refused.status_code == 401
    finally:
        other.terminate()
        other.communicate(timeout=60)
    assert other.returncode == 0


def test_a_port_in_use_is_told_before_anything_is_begun(platform):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = platform.cli("up", "--port", str(taken.getsockname()[1]), status=2)
    assert "is in use by another program" in done.stderr
    assert not (platform.state / "platform.db").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--public-url", "models.example"), "cannot be the public URL"),
        (("--public-url", "https://models.example/path"), "cannot be the public URL"),
        (("--trusted-proxy", "nowhere"), "is no address or network"),
        (("--host", "192.0.2.1"), "is not an address of this machine"),
        (("--keep-data", "1000000"), "Invalid value for '--keep-data'"),
        (("--keep-files", "nan"), "Invalid value for '--keep-files'"),
    ],
)
def test_what_cannot_be_is_told(platform, options, said):
    assert said in platform.cli("up", *options, status=2).stderr


def test_a_state_directory_that_cannot_be_used_is_told(platform, tmp_path):
    (tmp_path / "file").write_text("")
    done = platform.cli("up", "--port", "0", "--state", str(tmp_path / "file" / "below"), status=1)
    assert "cannot be used" in done.stderr


def test_the_first_key_is_shown_once_and_a_lost_one_can_be_replaced(platform):
    platform.up("--owner", "acme")
    assert sum("API key of an administrator, for 'acme'" in line for line in platform.lines) == 1
    first = platform.key
    platform.stop()
    platform.up()
    assert sum("API key of" in line for line in platform.lines) == 1
    platform.stop()
    (platform.home / ".config" / "drivetrain" / "platform.json").unlink()
    platform.up()
    assert any("No key of this platform is known to you here" in line for line in platform.lines)
    platform.stop()
    platform.up("--new-key")
    assert platform.key != first
    assert len(platform.json("keys", "list")) == 2


def test_clients_are_told_of_the_public_url(platform):
    platform.up("--public-url", "https://models.example/")
    platform.deploy("held", HELD)
    prediction = platform.predict("held", text="x")
    assert prediction["urls"]["get"] == f"https://models.example/api/v1/predictions/{prediction['id']}"


def test_without_the_packages_it_needs_it_says_what_to_install(platform, tmp_path):
    (tmp_path / "starlette.py").write_text("raise ModuleNotFoundError('no starlette', name='starlette')")
    done = platform.cli("up", "--port", "0", status=2, PYTHONPATH=str(tmp_path))
    assert "pip install 'drivetrain[platform]'" in done.stderr


def test_nothing_is_left_running(platform):
    platform.up()
    platform.deploy("held", HELD, "--min", "1")
    platform.predict("held", text="x")
    platform.stop()
    left = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert str(platform.directory) not in left
