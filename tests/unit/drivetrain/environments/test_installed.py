"""Interpreters are found where uv and pyenv keep them, and on PATH."""

import os
import sys

from drivetrain.environments.installed import installed_interpreters, version_of
from drivetrain.settings import read_settings

OURS = sys.version_info[:3]


def program(path, text=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    if text is None:
        path.symlink_to(os.path.realpath(sys.executable))
    else:
        path.write_text(text)
        path.chmod(0o755)
    return path


def find(tmp_path, *directories):
    path = os.pathsep.join(map(str, directories))
    *found, our_own = installed_interpreters(read_settings({"HOME": str(tmp_path), "PATH": path}))
    assert our_own.version == OURS
    return found


def test_versions_of_pyenv_and_uv_are_read_from_the_names_of_their_directories(tmp_path):
    pyenv = tmp_path / ".pyenv" / "versions"
    uv = tmp_path / ".local" / "share" / "uv" / "python"
    kept = [program(root / "bin" / "python3", "not run") for root in (uv / "cpython-3.9.5-linux-x86_64-gnu", pyenv / "3.10.1")]
    for other in (
        pyenv / "pypy3.9-7.3",
        pyenv / "3.13.0t",
        pyenv / "my-env",
        uv / "cpython-3.13.0+freethreaded-linux",
        pyenv / "miniconda3-4.7",
    ):
        program(other / "bin" / "python3", "not run")
    (pyenv / "3.11.1").mkdir()
    assert [(found.version, found.path) for found in find(tmp_path)] == [((3, 9, 5), kept[0]), ((3, 10, 1), kept[1])]


def test_those_on_path_are_asked_once_each(tmp_path):
    first = program(tmp_path / "bin" / "python3")
    program(tmp_path / "bin" / "python3.11")
    program(tmp_path / "bin" / "python3-config", "#!/bin/sh\n")
    assert [(found.version, found.path) for found in find(tmp_path, tmp_path / "bin", tmp_path / "gone")] == [(OURS, first)]


def test_shims_virtual_environments_and_others_do_not_count(tmp_path):
    program(tmp_path / "shims" / "python3")
    program(tmp_path / "venv" / "bin" / "python3")
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    program(tmp_path / "pypy" / "python3", "#!/bin/sh\necho PyPy 3.9.1\n")
    program(tmp_path / "broken" / "python3", "#!/bin/sh\nexit 1\n")
    program(tmp_path / "unfit" / "python3", "no program")
    names = ("shims", "venv/bin", "pypy", "broken", "unfit")
    assert find(tmp_path, *(tmp_path / name for name in names)) == []


def test_versions_compare_as_numbers():
    assert version_of("3.10.2") > version_of("3.9.18")


def test_our_own_interpreter_is_there_wherever_it_is(tmp_path):
    ((version, path),) = [
        (found.version, found.path) for found in installed_interpreters(read_settings({"HOME": str(tmp_path), "PATH": ""}))
    ]
    assert version == OURS
    assert not (path.parent.parent / "pyvenv.cfg").exists()
