"""A runner's own copy of its project."""

import os

import pytest

from drivetrain.fleets.workplace import make_workplace

LARGE = 5 * 1024 * 1024


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "source"
    (root / "package").mkdir(parents=True)
    (root / "package" / "module.py").write_text("x = 1")
    (root / "tool.sh").write_text("#!/bin/sh")
    (root / "tool.sh").chmod(0o755)
    (root / "weights.bin").write_bytes(b"w" * LARGE)
    (root / "link").symlink_to("package/module.py")
    (root / "dangling").symlink_to("nowhere")
    return root


def test_it_is_the_project(tmp_path, source):
    project = make_workplace(tmp_path / "runner", source).project
    assert (project / "package" / "module.py").read_text() == "x = 1"
    assert os.access(project / "tool.sh", os.X_OK)
    assert (project / "weights.bin").read_bytes() == b"w" * LARGE
    assert os.readlink(project / "link") == "package/module.py"
    assert os.readlink(project / "dangling") == "nowhere"


def test_times_are_kept_since_bytecode_is_told_by_them(tmp_path, source):
    os.utime(source / "package" / "module.py", (1, 1))
    project = make_workplace(tmp_path / "runner", source).project
    assert (project / "package" / "module.py").stat().st_mtime == 1


def test_what_is_written_there_does_not_reach_the_source(tmp_path, source):
    project = make_workplace(tmp_path / "runner", source).project
    (project / "package" / "module.py").write_text("changed")
    (project / "package" / "new.py").write_text("new")
    (project / "weights.bin").unlink()
    assert (source / "package" / "module.py").read_text() == "x = 1"
    assert not (source / "package" / "new.py").exists()
    assert (source / "weights.bin").exists()


def test_removing_it_leaves_the_source(tmp_path, source):
    workplace = make_workplace(tmp_path / "runner", source)
    workplace.remove()
    workplace.remove()
    assert not workplace.directory.exists()
    assert (source / "weights.bin").stat().st_size == LARGE


def test_what_was_begun_is_removed_when_it_fails(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        make_workplace(tmp_path / "runner", tmp_path / "nowhere")
    assert not (tmp_path / "runner").exists()
