"""An environment is found by what it was made from, whole or not at all."""

import json
import os
import sys
from pathlib import Path

import pytest

from drivetrain.environments.store import EnvironmentPlace, environment_key
from drivetrain.model.project import EnvironmentSpec
from drivetrain.settings import read_settings


def key(root, *requirements, environ=None, **options):
    return environment_key(EnvironmentSpec(root=root, requirements=requirements, **options), read_settings(environ or {}))


@pytest.fixture
def place(tmp_path):
    settings = read_settings({"DRIVETRAIN_CACHE_DIR": str(tmp_path / "cache"), "PATH": "/bin"})
    made = EnvironmentPlace(EnvironmentSpec(root=tmp_path), settings)
    made.directory.mkdir(parents=True)
    return made


def build(place, python=sys.executable):
    with place.new_venv() as venv:
        (venv / "bin").mkdir(parents=True)
        (venv / "bin" / "python").symlink_to(python)
        place.mark_whole(venv, "3.11.7")
    return venv


def test_projects_that_ask_for_the_same_share(tmp_path):
    assert key(tmp_path / "one", "numpy", variables={"A": "1"}) == key(tmp_path / "two", "numpy")


@pytest.mark.parametrize(
    "other",
    [
        {"requirements": ("numpy==2",)},
        {"python_version": "3.11"},
        {"gpu": True},
        {"environ": {"UV_TORCH_BACKEND": "cu126"}},
        {"requirements": ("numpy", "scipy")},
    ],
)
def test_whatever_changes_what_is_installed_makes_another(tmp_path, other):
    requirements = other.pop("requirements", ("numpy",))
    assert key(tmp_path, *requirements, **other) != key(tmp_path, "numpy")


def test_a_token_that_has_changed_makes_no_other(tmp_path):
    line = "git+https://${TOKEN}@x.example/a.git"
    assert key(tmp_path, line, environ={"TOKEN": "1"}) == key(tmp_path, line)


def test_a_changed_constraint_makes_another(tmp_path):
    (tmp_path / "limits.txt").write_text("numpy<2")
    before = key(tmp_path, "numpy", "-c limits.txt")
    (tmp_path / "limits.txt").write_text("numpy<3")
    assert key(tmp_path, "numpy", "-c limits.txt") != before


def test_it_is_found_when_it_is_whole(place):
    assert place.read() is None
    venv = build(place)
    found = place.read()
    assert found.python == venv / "bin" / "python"
    assert found.python_version == "3.11.7"
    assert found.directory == venv
    assert found.variables == {"VIRTUAL_ENV": str(venv), "PATH": f"{venv}/bin{os.pathsep}/bin"}


def interrupted_build(place):
    with place.new_venv() as venv:
        venv.mkdir()
        raise KeyboardInterrupt


def test_a_failed_build_leaves_nothing(place):
    with pytest.raises(KeyboardInterrupt):
        interrupted_build(place)
    assert place.read() is None
    assert list(place.directory.iterdir()) == []


def test_a_new_build_removes_what_was_left_and_has_a_path_of_its_own(place):
    left = place.directory / "venv-left"
    left.mkdir()
    first = build(place)
    second = build(place)
    assert (left.exists(), first.exists(), second.exists()) == (False, False, True)
    assert place.read().directory == second


def test_it_is_not_used_without_its_interpreter(place, tmp_path):
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    venv = build(place, python)
    assert place.read() is not None
    python.unlink()
    assert place.read() is None
    python.symlink_to(Path("/bin/sh"))  # something else stands there now
    assert place.read() is None
    assert venv.exists()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "{}", '{"venv": "x"}', json.dumps({"format": 1, "python_version": "3.11.7"})]
)
def test_a_mark_that_cannot_be_read_is_none(place, content):
    (place.directory / "ready.json").write_text(content)
    assert place.read() is None


def test_a_relative_cache_directory_gives_absolute_paths(tmp_path):
    settings = read_settings({"DRIVETRAIN_CACHE_DIR": "cache"})
    assert EnvironmentPlace(EnvironmentSpec(root=tmp_path), settings).directory.is_absolute()
