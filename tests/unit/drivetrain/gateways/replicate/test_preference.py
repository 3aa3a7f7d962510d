"""Headers by which clients say how long they wait."""

from datetime import timedelta

import pytest

from drivetrain.gateways.http.refusal import Refused
from drivetrain.gateways.replicate.preference import answer_within, read_cancel_after, read_wait


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("wait", 60),
        ("wait=1", 1),
        ("wait=60", 60),
        ("Wait = 5", 5),
        ('wait="7"', 7),
        ("respond-async, wait=9", 9),
        ("return=minimal; wait=3", 3),
        ("wait=3600", 60),
    ],
)
def test_a_wait_is_held_to_a_minute(prefer, seconds):
    assert read_wait(prefer) == timedelta(seconds=seconds)


@pytest.mark.parametrize("prefer", ["", "respond-async", "wait=0", "wait=soon", "wait=-1", "waiting", "wait=" + "9" * 100])
def test_what_is_no_wait_is_no_error_either(prefer):
    assert read_wait(prefer) is None


@pytest.mark.parametrize("seconds", [1, 2, 5, 60])
def test_the_answer_is_there_before_the_client_hangs_up(seconds):
    wait = timedelta(seconds=seconds)
    assert wait * 0.9 <= answer_within(wait) < wait


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30),
        ("90s", 90),
        ("5m", 300),
        ("1h30m45s", 5445),
        ("1.5m", 90),
        ("5000ms", 5),
        ("10.5", 10.5),
        (" 60 ", 60),
        ("87600h", 315_360_000),
    ],
)
def test_a_deadline_is_seconds_or_a_duration(text, seconds):
    assert read_cancel_after(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        *("soon", "1d", "5m5", "-5", "1e3", "4", "4999ms", "0", "٣٠", "5 m", "9" * 400),
        *("87601h", "99999999h", "999999999", "999999999h" * 100),  # in no lifetime, or in none that can be reckoned with
    ],
)
def test_what_is_no_deadline_is_refused(text):
    with pytest.raises(Refused) as caught:
        read_cancel_after(text)
    assert caught.value.status == 422
    assert "Cancel-After" in caught.value.message


@pytest.mark.parametrize("text", [None, "", "  "])
def test_no_deadline_is_none(text):
    assert read_cancel_after(text) is None
