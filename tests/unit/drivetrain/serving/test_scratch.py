"""Directories of servers that died are removed, those of servers that live are not."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from drivetrain.serving.scratch import Scratch

DIE = """
import os
from drivetrain.serving.scratch import Scratch
print(Scratch().path, flush=True)
os._exit(1)
"""


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_directory_is_there_until_it_is_removed():
    scratch = Scratch()
    assert Path(scratch.path).is_dir()
    scratch.remove()
    scratch.remove()
    assert not Path(scratch.path).exists()


def test_what_a_killed_server_left_is_removed_by_the_next(directory):
    left = subprocess.run(
        [sys.executable, "-c", DIE], env={"TMPDIR": str(directory)}, capture_output=True, text=True
    ).stdout.strip()
    assert Path(left).is_dir()
    Scratch().remove()
    assert not Path(left).exists()


def test_the_directories_of_others_that_live_and_things_that_are_none_stay(directory):
    first = Scratch()
    (directory / "drivetrain-else").mkdir()
    (directory / "drivetrain-link").symlink_to(directory)
    Scratch().remove()
    assert Path(first.path).is_dir()
    assert (directory / "drivetrain-else").is_dir()
    assert (directory / "drivetrain-link").is_symlink()
    first.remove()
