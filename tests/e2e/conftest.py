"""A platform as somebody uses it: started by its command in a home of its own, talked to by commands and over HTTP."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import httpx
import pytest
from receiver import Receiver

DRIVETRAIN = Path(sys.executable).parent / "drivetrain"
#: An environment that is made once for all tests of the session.
BUILD = f'build:\n  python_version: "{sys.version_info[0]}.{sys.version_info[1]}"\n'


class Platform:
    """A platform that may be started, killed and started again on the same state.

    Attributes:
        lines: What it has written.
    """

    def __init__(self, directory, cache):
        self.directory = directory
        self.home = directory / "home"
        self.home.mkdir(parents=True, exist_ok=True)
        kept = {name: os.environ[name] for name in ("LANG", "SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ}
        path = os.pathsep.join([str(DRIVETRAIN.parent), "/usr/bin", "/bin"])
        self.environ = {
            **kept,
            "HOME": str(self.home),
            "PATH": path,
            "DRIVETRAIN_CACHE_DIR": str(cache),
            "USER": "me",
            "LOGNAME": "me",
        }
        self.lines = []
        self.process = None
        self.http = None

    @property
    def state(self):
        return self.home / ".local" / "share" / "drivetrain"

    @property
    def key(self):
        known = json.loads((self.home / ".config" / "drivetrain" / "platform.json").read_text())
        return known["platforms"][0]["key"]

    def up(self, *options, port=0):
        """Start it, and wait until it listens."""
        self.process = subprocess.Popen(
            [str(DRIVETRAIN), "up", "--port", str(port), "--allow-private-addresses", *options],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._began_with = len(self.lines)
        self._queue = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(self.process, self._queue), daemon=True)
        self._reader.start()
        self.url = self.wait_for("Listening on ").partition("Listening on ")[2].split(",")[0]
        self.http = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=60)
        return self

    def kill(self):
        """End it as a power cut would."""
        self.process.kill()
        self._reap()

    def stop(self):
        """End it as Ctrl-C does, if it runs."""
        if self.process is not None and self.process.poll() is None:
            if not any("Stopping" in line for line in self.lines[self._began_with :]):  # twice would be once too often
                self.process.send_signal(signal.SIGINT)
            try:
                assert self.process.wait(timeout=90) == 0, "".join(self.lines)
            finally:
                self.process.kill()
        self._reap()

    def wait_for(self, text):
        """The next line that holds the text."""
        while (line := self._queue.get(timeout=60)) is not None:
            if text in line:
                return line.rstrip("\n")
        raise AssertionError(f"the platform ended without saying {text!r}: {''.join(self.lines)}")

    def cli(self, *arguments, status=0, stdin="", cwd=None, **environ):
        """Run a command to its end."""
        done = subprocess.run(
            [str(DRIVETRAIN), *arguments],
            env={**self.environ, **environ},
            cwd=cwd or self.directory,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def json(self, *arguments, **options):
        """What a command prints as JSON."""
        return json.loads(self.cli(*arguments, "--json", **options).stdout)

    def start(self, *arguments):
        """Start a command and leave it running."""
        return subprocess.Popen(
            [str(DRIVETRAIN), *arguments],
            env=self.environ,
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def project(self, name, source, config="predict: predict.py:Predictor\n", **files):
        """A project's directory."""
        root = self.directory / "projects" / name
        root.mkdir(parents=True, exist_ok=True)
        (root / "predict.py").write_text(textwrap.dedent(source))
        (root / "cog.yaml").write_text(BUILD + config)
        for file, text in files.items():
            (root / file).write_text(text)
        return root

    def deploy(self, name, source, *options, status=0, **files):
        """Deploy a project under my name."""
        return self.cli("deploy", str(self.project(name, source, **files)), "--name", f"me/{name}", *options, status=status)

    def predict(self, app, wait=60, headers=None, **inputs):
        """Run a prediction over HTTP."""
        answer = self.http.post(
            f"/api/v1/apps/me/{app}/predictions", params={"wait": wait}, json={"input": inputs}, headers=headers
        )
        assert answer.status_code < 300, answer.text
        return answer.json()

    def prediction(self, prediction_id, wait=60):
        return self.http.get(f"/api/v1/predictions/{prediction_id}", params={"wait": wait}).raise_for_status().json()

    def _read(self, process, lines):
        for line in process.stdout:
            self.lines.append(line)
            lines.put(line)
        lines.put(None)

    def _reap(self):
        if self.process is not None:
            self.process.wait()
            self._reader.join()
            self.process.stdout.close()
        if self.http is not None:
            self.http.close()


@pytest.fixture(scope="session")
def platform_cache(tmp_path_factory):
    """Environments, made once."""
    return tmp_path_factory.mktemp("platform-cache")


@pytest.fixture
def platform(tmp_path, platform_cache):
    """A platform of the test's own, not started."""
    made = Platform(tmp_path / "platform", platform_cache)
    with contextlib.closing(_Stopped(made)):
        yield made


@pytest.fixture(scope="module")
def running(tmp_path_factory, platform_cache):
    """A platform that the tests of a module share."""
    made = Platform(tmp_path_factory.mktemp("shared"), platform_cache)
    with contextlib.closing(_Stopped(made)):
        yield made.up()


class _Stopped:
    def __init__(self, platform):
        self._platform = platform

    def close(self):
        self._platform.stop()


@pytest.fixture
def receiver():
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()
