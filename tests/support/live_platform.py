"""A platform as a process of its own, which a test may kill and start again on the same state, and what is left of it."""

import contextlib
import json
import os
import queue
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import httpx

DRIVETRAIN = Path(sys.executable).parent / "drivetrain"

#: An environment that needs nothing but what is here, made once for all tests of a session.
CONFIG = f'predict: predict.py:Predictor\nbuild:\n  python_version: "{sys.version_info[0]}.{sys.version_info[1]}"\n'

HEARD_SECONDS = 60


class LivePlatform:
    """A `drivetrain up`, its home, and the processes below it.

    Attributes:
        lines: All that it has written, over all its starts.
    """

    def __init__(self, directory, cache, state=None):
        self.directory = directory
        self.home = directory / "home"
        self.home.mkdir(parents=True)
        self.state = state or directory / "state"
        self.environ = {
            **{name: os.environ[name] for name in ("LANG", "SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ},
            "HOME": str(self.home),
            "PATH": os.pathsep.join([str(DRIVETRAIN.parent), "/usr/bin", "/bin"]),
            "DRIVETRAIN_CACHE_DIR": str(cache),
            "LOGNAME": "me",
        }
        self.lines = []
        self.port = 0
        self.process = None

    def up(self):
        """Start it, and wait until it listens; always on the same port."""
        command = [str(DRIVETRAIN), "up", "--state", str(self.state), "--port", str(self.port), "--stop-grace", "5"]
        self.process = subprocess.Popen(
            [*command, "--allow-private-addresses"],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        heard = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(self.process, heard), daemon=True)
        self._reader.start()
        while "Listening on " not in (line := heard.get(timeout=HEARD_SECONDS) or self._fail()):
            pass
        self.url = line.partition("Listening on ")[2].split(",")[0].strip()
        self.port = int(self.url.rpartition(":")[2])
        return self

    def kill(self):
        """End it as a power cut would."""
        self.process.kill()
        self._reap()

    def stop(self):
        """End it as Ctrl-C does."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            assert self.process.wait(timeout=60) == 0, "".join(self.lines[-100:])
        finally:
            self.process.kill()
            self._reap()

    def client(self, timeout=60):
        """Talks to it as its administrator."""
        known = json.loads((self.home / ".config" / "drivetrain" / "platform.json").read_text())
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {known['platforms'][0]['key']}"}, timeout=timeout)

    def deploy(self, name, source, *options):
        """Deploy a predictor."""
        root = self.directory / name
        root.mkdir()
        (root / "predict.py").write_text(textwrap.dedent(source))
        (root / "cog.yaml").write_text(CONFIG)
        command = [str(DRIVETRAIN), "deploy", str(root), "--name", f"me/{name}", "--platform", self.url, *options]
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stdout + done.stderr

    def family(self):
        """The platform and every process that it started, or that they started: its home is in the environment of all of them."""
        mark = os.fsencode(self.home)
        found = []
        for directory in Path("/proc").iterdir():
            if directory.name.isdigit():
                with contextlib.suppress(OSError):
                    if mark in (directory / "environ").read_bytes():
                        found.append((int(directory.name), (directory / "cmdline").read_bytes()))
        return found

    def runners(self):
        """The model servers below it, and what they are forked from."""
        return [pid for pid, command in self.family() if b"drivetrain.cli.runners" in command or b"drivetrain\0serve" in command]

    def workers(self):
        """The processes below it that hold models."""
        return [pid for pid, command in self.family() if b"drivetrain_worker" in command]

    def leftovers(self):
        """What is in the state directory that belongs to nobody, once the platform has stopped."""
        left = [str(path) for path in (self.state / "runners").glob("*")]
        left += [str(path) for path in self.state.rglob("*") if path.suffix in (".tmp", ".part")]
        with contextlib.closing(sqlite3.connect(self.state / "files" / "records.db")) as records:
            tables = [row[0] for row in records.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            known = {str(row[0]) for row in records.execute("SELECT id FROM file")} if "file" in tables else set()
        for path in (self.state / "files").rglob("*"):
            if path.is_file() and not path.name.startswith("records.db") and not any(each in str(path) for each in known):
                left.append(str(path))
        return left

    def remove(self):
        """Forget its state."""
        shutil.rmtree(self.state, ignore_errors=True)

    def _fail(self):
        raise AssertionError(f"the platform ended before it listened: {''.join(self.lines[-50:])}")

    def _read(self, process, heard):
        for line in process.stdout:
            self.lines.append(line)
            heard.put(line)
        heard.put(None)

    def _reap(self):
        self.process.wait()
        self._reader.join()
        self.process.stdout.close()
        self.process = None
