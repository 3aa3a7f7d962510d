"""One platform for a state directory."""

import os
import stat

import pytest

from drivetrain.cli.state_lock import PlatformRunning, StateLock, read_holder, wait_until_free
from drivetrain.model.errors import OutsideFailed


def test_who_holds_it_is_told_to_the_second_one(tmp_path):
    state = tmp_path / "state"
    with StateLock(state) as lock:
        lock.tell("http://here:8700")
        with pytest.raises(PlatformRunning, match=f"process {os.getpid()}, http://here:8700"), StateLock(state):
            pass
        assert read_holder(state).url == "http://here:8700"
        assert not wait_until_free(state, 0)
    assert read_holder(state) is None
    assert wait_until_free(state, 0)
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_it_can_be_taken_again_and_what_a_dead_one_left_is_nothing(tmp_path):
    with StateLock(tmp_path) as lock:
        lock.tell("http://here:8700")
    (tmp_path / "lock").write_text('{"pid": 1, "url": "http://dead"}')
    assert read_holder(tmp_path) is None
    with StateLock(tmp_path):
        assert read_holder(tmp_path) is None  # held, by somebody who has not said who he is


def test_a_directory_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutsideFailed, match="cannot be used"), StateLock(tmp_path / "file" / "below"):
        pass


def test_where_there_is_nothing_nobody_holds_it(tmp_path):
    assert read_holder(tmp_path) is None
    assert wait_until_free(tmp_path, 0)
