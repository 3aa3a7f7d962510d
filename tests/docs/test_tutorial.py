"""The tutorial is typed in as it stands, and what comes back is what it shows.

In ``console`` blocks, lines that begin with ``$`` are typed, and the others are expected; ``…`` stands for whatever comes. A block with
a file's name behind its language is written to that file.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(?P<language>\w+)(?: (?P<file>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN_PORT = "8393"


@dataclass
class Step:
    """A command, and the output that the page shows for it."""

    command: str
    shown: str = ""

    @property
    def serves(self):
        return self.command.startswith("drivetrain serve")


def steps_of(text):
    steps = []
    for line in text.splitlines(keepends=True):
        if line.startswith("$ "):
            steps.append(Step(line[2:].rstrip("\n")))
        else:
            steps[-1].shown += line
    return steps


def as_pattern(shown):
    return re.compile(re.escape(shown.rstrip("\n")).replace("…", ".*"), re.DOTALL)


@dataclass
class Reader:
    """Someone who follows the page, in a terminal that remembers where he is."""

    directory: Path
    environ: dict
    port: str
    status: int = 0
    server: subprocess.Popen | None = None

    def type(self, step):
        command = step.command.replace(f":{SHOWN_PORT}", f":{self.port}")
        if step.serves:
            return self.serve(f"exec {command} --port {self.port}")
        place = self.directory.parent / "place"
        done = self.start(f"(exit {self.status})\n{command}\nstatus=$?; pwd > '{place}'; exit $status")
        output, _ = done.communicate(timeout=200)
        self.directory, self.status = Path(place.read_text().strip()), done.returncode
        return output

    def serve(self, command):
        self.server = self.start(command)
        lines = []
        while not lines or not lines[-1].startswith("Ready"):
            lines.append(self.server.stdout.readline())
            assert lines[-1], f"the server ended: {lines}"
        return "".join(lines).replace(f":{self.port}", f":{SHOWN_PORT}")

    def start(self, script):
        return subprocess.Popen(
            ["bash", "-c", script],
            cwd=self.directory,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def leave(self):
        if self.server is not None:
            if self.server.poll() is None:
                os.killpg(self.server.pid, signal.SIGKILL)
            self.server.wait()
            self.server.stdout.close()


@pytest.fixture
def reader(tmp_path, drivetrain):
    home = tmp_path / "home"
    home.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    environ = {
        **os.environ,
        "PATH": f"{drivetrain.parent}{os.pathsep}{os.environ['PATH']}",
        "DRIVETRAIN_CACHE_DIR": str(tmp_path / "cache"),
    }
    one = Reader(home, environ, port)
    yield one
    one.leave()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl, which the tutorial uses, is not installed")
def test_the_tutorial_works_as_it_is_written(reader):
    for block in BLOCK.finditer(TUTORIAL.read_text(encoding="utf-8")):
        if block["file"]:
            (reader.directory / block["file"]).write_text(block["text"], encoding="utf-8")
        elif block["language"] == "console":
            for step in steps_of(block["text"]):
                output = reader.type(step)
                assert as_pattern(step.shown).fullmatch(output.rstrip("\n")), f"$ {step.command}\n{output}"
    assert reader.server.wait(timeout=60) == 0
