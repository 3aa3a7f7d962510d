"""Which interpreter a request gets."""

import sys
from pathlib import Path

import pytest

from drivetrain.environments.installed import Interpreter, version_of
from drivetrain.environments.interpreter import choose, find_interpreter
from drivetrain.model.errors import ProjectError
from drivetrain.settings import read_settings


def installed(*versions):
    return [Interpreter(version_of(version), Path(f"/{number}/{version}")) for number, version in enumerate(versions)]


@pytest.mark.parametrize(
    ("request_", "there", "chosen"),
    [
        ("3.11", ("3.11.2", "3.11.10", "3.12.1"), "3.11.10"),
        ("3.11.2", ("3.11.2", "3.11.10"), "3.11.2"),
        ("3.11.4", ("3.11.2", "3.11.10"), "3.11.10"),
        ("3.1", ("3.10.1", "3.11.2"), None),
        ("3.13", ("3.12.1",), None),
        (None, ("3.13.0", "3.12.1", "3.8.1"), "3.12.1"),
        (None, ("3.8.1", "3.10.2"), "3.10.2"),
        (None, ("3.7.1",), None),
        (None, (), None),
    ],
)
def test_the_best_of_those_installed(request_, there, chosen):
    found = choose(request_, installed(*there))
    assert (str(found) if found else None) == chosen


def test_of_equal_versions_the_first_is_taken():
    first, _ = there = installed("3.11.2", "3.11.2")
    assert choose("3.11", there) is first


@pytest.fixture
def machine(tmp_path):
    """Settings of a machine with two interpreters of pyenv, and a uv that cannot fetch any."""
    for version in ("3.8.13", "3.12.1"):
        python = tmp_path / "pyenv" / "versions" / version / "bin" / "python3"
        python.parent.mkdir(parents=True)
        python.symlink_to("/bin/sh")
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\necho 'error: No download found for request: cpython-3.99' >&2\nexit 2\n")
    uv.chmod(0o755)
    environ = {"PATH": "", "HOME": str(tmp_path), "PYENV_ROOT": str(tmp_path / "pyenv"), "DRIVETRAIN_UV": str(uv)}
    return read_settings({**environ, "DRIVETRAIN_CACHE_DIR": str(tmp_path / "cache")})


def test_another_patch_version_is_told(machine, bench):
    assert str(find_interpreter("3.8.4", machine, bench.told)) == "3.8.13"
    assert bench.told.steps == ["Python 3.8.4 is not installed; 3.8.13 is used instead"]


def test_the_error_names_what_is_there_why_it_was_not_fetched_and_what_to_do(machine, bench):
    with pytest.raises(ProjectError) as caught:
        find_interpreter("3.99", machine, bench.told)
    assert "Python 3.99 is not installed and could not be fetched: No download found" in caught.value.message
    ours = ".".join(map(str, sys.version_info[:3]))
    assert caught.value.message.endswith(f"has {', '.join(sorted({'3.8.13', '3.12.1', ours}, key=version_of))}")
    assert "build.python_version" in caught.value.hint
    assert "--env host" in caught.value.hint


def test_a_python_that_is_too_old_is_refused_at_once(machine, bench):
    with pytest.raises(ProjectError, match=r"Python 3\.7 is too old"):
        find_interpreter("3.7", machine, bench.told)
    assert bench.told.steps == []
