"""The parts of the process that keeps an image's command which need no namespaces; the rest is tested whole."""

import fcntl
import json
import os
import stat
import sys

import pytest

from drivetrain.images.namespace import copy_layer, own_directory, remove_tree, sweep

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="images are unpacked on Linux")


def layer(directory, name, *, gone=(), emptied=(), **files):
    tree = directory / name
    tree.mkdir()
    for path, text in files.items():
        file = tree / path.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (directory / f"{name}.json").write_text(json.dumps({"gone": gone, "emptied": emptied}))
    return str(tree)


def names(root):
    return sorted(os.path.relpath(os.path.join(place, name), root) for place, _, files in os.walk(root) for name in files)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def test_a_copy_has_what_the_layers_show_together(tmp_path, root):
    copy_layer(layer(tmp_path, "1", a="1", d__gone="1", d__kept="1", e__old="1", f__x="1"), str(root))
    copy_layer(layer(tmp_path, "2", gone=["d/gone"], emptied=["e"], a="2", d__new="2", e__new="2", f="a file"), str(root))
    assert names(root) == ["a", "d/kept", "d/new", "e/new", "f"]
    assert (root / "a").read_text() == "2"


def test_a_copy_is_no_other_name_of_the_layer_and_keeps_its_own_links(tmp_path, root):
    tree = layer(tmp_path, "1", a="1")
    file = tmp_path / "1" / "a"
    (tmp_path / "1" / "b").hardlink_to(file)
    file.chmod(0o750)
    os.utime(file, (5, 5))
    copy_layer(tree, str(root))
    assert (root / "a").samefile(root / "b")
    assert (stat.S_IMODE((root / "b").stat().st_mode), (root / "b").stat().st_mtime) == (0o750, 5)
    (root / "a").write_text("changed")
    assert file.read_text() == "1"


def test_a_copy_follows_no_link_of_a_layer_below(tmp_path, root):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("of the host")
    first = layer(tmp_path, "1")
    os.symlink(outside, f"{first}/way")
    os.symlink(outside / "file", f"{first}/a")
    copy_layer(first, str(root))
    copy_layer(layer(tmp_path, "2", gone=["way/file"], a="new", way__file="new"), str(root))
    assert (outside / "file").read_text() == "of the host"
    assert (root / "way/file").read_text() == "new"
    assert (root / "a").read_text() == "new"


def test_a_tree_is_removed_however_deep_it_is_and_whatever_its_modes(tmp_path):
    directory = tmp_path / "run"
    (directory / "upper").mkdir(parents=True)
    before = os.open(".", os.O_RDONLY)
    os.chdir(directory / "upper")
    for _ in range(1500):
        os.mkdir("d" * 20)
        os.chdir("d" * 20)
    os.chmod(".", 0)
    os.fchdir(before)
    os.close(before)
    (directory / "upper" / "file").write_text("x")
    os.symlink("/", directory / "upper" / "link")
    remove_tree(str(directory))
    assert not directory.exists()


def test_directories_of_runs_that_were_killed_are_swept(tmp_path):
    with own_directory(str(tmp_path)) as mine:
        (tmp_path / "dead" / "upper").mkdir(parents=True)
        (tmp_path / "dead.lock").touch()
        (tmp_path / "begun.lock").touch()
        sweep(str(tmp_path))
        assert sorted(os.listdir(tmp_path)) == [os.path.basename(mine), f"{os.path.basename(mine)}.lock"]
    assert os.listdir(tmp_path) == []


def test_a_directory_is_locked_while_it_is_used(tmp_path):
    with own_directory(str(tmp_path)) as mine, open(f"{mine}.lock") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
