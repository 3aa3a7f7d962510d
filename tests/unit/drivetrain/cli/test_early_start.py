"""A worker that is started early is the one that is wanted, or is ended."""

import os
import sys
from pathlib import Path

import pytest

from drivetrain.cli.early_start import EarlyStart, StartNote
from drivetrain.serving.spawning import ProcessCommand

SAID = {"port": 0, "realisation": "host"}


@pytest.fixture
def environ(tmp_path):
    return {**os.environ, "HOME": str(tmp_path), "DRIVETRAIN_CACHE_DIR": str(tmp_path / "cache")}


@pytest.fixture
def command(tmp_path, environ):
    """A process that reads its connection until that is closed."""
    package = tmp_path / "package.py"
    package.write_text("import socket, sys\nsocket.socket(fileno=int(sys.argv[1])).recv(1)\n")
    return ProcessCommand((sys.executable, str(package)), str(tmp_path), {**environ, "NEW": "a\nb=c", "PATH": "/other"})


def start(said, environ, command):
    """Start and take; whether what was taken had been started early."""
    early = EarlyStart(said, environ)
    try:
        worker = early.take(command)
        if worker is not None:
            worker.discard()
        return worker is not None
    finally:
        early.close()


def test_the_second_start_is_early(environ, command):
    assert [start(SAID, environ, command) for _ in range(3)] == [False, True, True]


def test_it_is_what_was_asked_for(environ, command):
    start(SAID, environ, command)
    early = EarlyStart(SAID, environ)
    worker = early.take(command)
    try:
        variables = Path(f"/proc/{worker.process.pid}/environ").read_bytes()
        assert os.readlink(f"/proc/{worker.process.pid}/cwd") == command.directory
        assert b"\0NEW=a\nb=c\0" in b"\0" + variables
        assert os.getpgid(worker.process.pid) == worker.process.pid
    finally:
        worker.discard()


@pytest.mark.parametrize("part", ["arguments", "directory", "variables"])
def test_anything_that_differs_ends_it_and_is_noted(environ, command, tmp_path, part):
    start(SAID, environ, command)
    other = {
        "arguments": ProcessCommand((sys.executable, str(tmp_path / "package.py"), "more"), command.directory, command.variables),
        "directory": ProcessCommand(command.arguments, "/", command.variables),
        "variables": ProcessCommand(command.arguments, command.directory, {**command.variables, "NEW": "else"}),
    }[part]
    early = EarlyStart(SAID, environ)
    process = early._worker.process
    assert early.take(other) is None
    early.close()
    early.close()
    assert process.returncode == -9
    if part != "arguments":  # a note has two
        assert start(SAID, environ, other)


def test_a_variable_of_ours_that_has_changed_is_the_new_one(environ, command):
    start(SAID, environ, command)
    environ = {**environ, "OURS": "1"}
    assert start(SAID, environ, ProcessCommand(command.arguments, command.directory, {**command.variables, "OURS": "1"}))


@pytest.mark.parametrize(
    ("said", "is_early"),
    [
        ({**SAID, "port": 80, "host": "::"}, True),
        ({**SAID, "realisation": "venv"}, False),
        ({**SAID, "config_name": "other.yaml"}, False),
        ({**SAID, "mode": "train"}, False),
        ({**SAID, "workers": 2}, False),
        ({**SAID, "variables": ("A=1",)}, False),
        (None, False),
    ],
)
def test_a_note_is_for_a_command_line(environ, command, said, is_early):
    start(SAID, environ, command)
    assert start(said, environ, command) is is_early


def test_a_note_is_for_a_directory(environ, command, tmp_path, monkeypatch):
    start(SAID, environ, command)
    monkeypatch.chdir(tmp_path)
    assert not start(SAID, environ, command)


def test_an_interpreter_that_is_gone_is_no_error(environ, command):
    gone = ProcessCommand(("/nowhere/python", "package"), command.directory, command.variables)
    assert [start(SAID, environ, gone), start(SAID, environ, command), start(SAID, environ, command)] == [False, False, True]


def note_of(environ, command):
    StartNote(SAID, os.getcwd(), environ).write(command)
    (file,) = os.scandir(os.path.join(environ["DRIVETRAIN_CACHE_DIR"], "starts"))
    return file.path


@pytest.mark.parametrize("content", [b"", b"\0", b"x\0y\0z\0/\0A=1"])
def test_a_damaged_note_is_not_used(environ, command, content):
    with open(note_of(environ, command), "wb") as file:
        file.write(content)
    assert not start(SAID, environ, command)
    assert start(SAID, environ, command)


def test_a_note_that_others_may_write_is_not_used(environ, command):
    path = note_of(environ, command)
    assert os.stat(path).st_mode & 0o777 == 0o600
    os.chmod(path, 0o620)
    assert StartNote(SAID, os.getcwd(), environ).read() is None


def test_where_nothing_can_be_noted_all_else_works(environ, command, tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert [start(SAID, environ, command) for _ in range(2)] == [False, False]


def test_old_notes_are_removed(environ, command):
    old = f"{note_of(environ, command)}.old"
    open(old, "w").close()
    os.utime(old, (0, 0))
    note_of(environ, command)
    assert not os.path.exists(old)
