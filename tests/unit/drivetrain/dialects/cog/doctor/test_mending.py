"""Edits, made each file at once or not at all."""

import os
import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivetrain.dialects.cog.doctor.edit import Edit, edited
from drivetrain.dialects.cog.doctor.mending import mend


def edit(path, start, end, text):
    return Edit(path=path, start=start, end=end, text=text)


def test_edits_are_made_from_the_front_each_once(tmp_path):
    edits = [edit(tmp_path, 4, 5, "X"), edit(tmp_path, 0, 0, "Y"), edit(tmp_path, 4, 5, "X")]
    assert edited(b"abcdef", edits) == b"YabcdXf"


def test_of_two_that_overlap_the_first_is_made(tmp_path):
    assert edited(b"abcdef", [edit(tmp_path, 1, 4, ""), edit(tmp_path, 2, 3, "X")]) == b"aef"


@given(st.binary(), st.data())
def test_what_no_edit_touches_stays(content, data):
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    after = edited(content, [Edit(path=None, start=start, end=end, text="new")])
    assert (after[:start], after[start + 3 :]) == (content[:start], content[end:])


def test_a_change_tells_what_went_and_what_came(tmp_path):
    path = tmp_path / "cog.yaml"
    path.write_text("a\nb\nc\n")
    (change,) = mend([edit(path, 2, 3, "é")])
    assert path.read_text() == "a\né\nc\n"
    assert list(change.lines) == ["-b", "+é"]


def test_python_that_would_be_none_afterwards_stays_as_it_is(tmp_path):
    path = tmp_path / "predict.py"
    path.write_text("x = 1\n")
    assert mend([edit(path, 4, 5, "(")]) == ()
    assert path.read_text() == "x = 1\n"


def test_mode_and_link_stay(tmp_path):
    target, link = tmp_path / "real.py", tmp_path / "predict.py"
    target.write_text("x = 1\n")
    target.chmod(0o640)
    link.symlink_to(target)
    mend([edit(link, 4, 5, "2")])
    assert (target.read_text(), target.stat().st_mode & 0o777, link.is_symlink()) == ("x = 2\n", 0o640, True)
    assert sorted(os.listdir(tmp_path)) == ["predict.py", "real.py"]


def test_a_file_that_cannot_be_written_is_as_it_was(tmp_path):
    path = tmp_path / "predict.py"
    path.write_text("x = 1\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            mend([edit(path, 4, 5, "2")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (path.read_text(), os.listdir(tmp_path)) == ("x = 1\n", ["predict.py"])
