"""What changes whenever our own part of an image would."""

import sys

import pytest

from drivetrain.images import server_stamp


def test_it_is_the_same_as_long_as_nothing_changes():
    assert server_stamp.of_sources() == server_stamp.of_sources()
    assert server_stamp.of_environment() == server_stamp.of_environment()


def test_our_own_files_are_in_it_without_their_bytecode():
    names = [stamp[0] for stamp in server_stamp.of_sources()]
    assert any(name.endswith("drivetrain/images/guest/init.py") for name in names)
    assert any(name.endswith("drivetrain_worker/protocol.py") for name in names)
    assert not any(name.endswith(".pyc") for name in names)


@pytest.mark.parametrize("change", ["other-2.0.dist-info", "other-1.0.post1.dist-info"])
def test_another_version_of_a_package_changes_it(tmp_path, monkeypatch, change):
    (tmp_path / "other-1.0.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "nothing")])
    before = server_stamp.of_environment()
    (tmp_path / "other-1.0.dist-info").rename(tmp_path / change)
    assert server_stamp.of_environment() != before


def test_other_requirements_of_ours_change_it(tmp_path, monkeypatch):
    metadata = tmp_path / "drivetrain-1.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Requires-Dist: a")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    before = server_stamp.of_environment()
    metadata.write_text("Requires-Dist: bb")
    assert server_stamp.of_environment() != before
