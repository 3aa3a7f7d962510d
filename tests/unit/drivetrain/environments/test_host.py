"""The Python on PATH, as it is."""

import pytest

from drivetrain.environments.host import host_environment
from drivetrain.model.errors import ProjectError
from drivetrain.settings import read_settings


def program(path):
    path.parent.mkdir(exist_ok=True)
    path.touch(mode=0o755)
    return path


def test_python_comes_before_python3_and_nothing_is_set(tmp_path):
    program(tmp_path / "one" / "python3")
    python = program(tmp_path / "two" / "python")
    found = host_environment(read_settings({"PATH": f"{tmp_path}/one:{tmp_path}/two"}))
    assert (found.python, found.directory, found.variables) == (python, None, {})


def test_a_relative_path_becomes_absolute_since_workers_start_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    python = program(tmp_path / "bin" / "python3")
    assert host_environment(read_settings({"PATH": "bin"})).python == python


def test_no_python_is_an_error(tmp_path):
    with pytest.raises(ProjectError, match="no 'python' or 'python3' on PATH"):
        host_environment(read_settings({"PATH": str(tmp_path)}))


def test_what_cannot_be_run_and_directories_are_passed_over(tmp_path):
    (tmp_path / "one" / "python").mkdir(parents=True)
    program(tmp_path / "two" / "python").chmod(0o644)
    python = program(tmp_path / "three" / "python")
    assert host_environment(read_settings({"PATH": f"{tmp_path}/one:{tmp_path}/two:{tmp_path}/three"})).python == python
