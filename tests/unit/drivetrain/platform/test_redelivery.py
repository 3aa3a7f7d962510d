"""Whether a webhook is sent again, and when."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivetrain.platform.redelivery import Again, Answered, Delivered, GiveUp, Refused, Unreached, decide, describe


def after(result, attempts=1, chance=0.5):
    return decide(result, attempts=attempts, chance=chance)


def delays(result):
    """All that pass until it is given up."""
    found = []
    while isinstance(decision := after(result, attempts=len(found) + 1), Again):
        found.append(decision.after)
    assert decision == GiveUp()
    return found


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_any_answer_that_says_yes_is_a_delivery(status):
    assert after(Answered(status=status), attempts=99) == Delivered()


@pytest.mark.parametrize("result", [Answered(status=301), Answered(status=307), Answered(status=410), Refused(reason="private")])
def test_what_cannot_get_better_is_given_up_at_once(result):
    assert after(result) == GiveUp()


@pytest.mark.parametrize("result", [Unreached(reason="down"), Answered(status=500), Answered(status=503), Answered(status=429)])
def test_a_receiver_that_is_down_has_a_day_to_come_back(result):
    found = delays(result)
    assert found[0] == timedelta(seconds=5)
    assert found == sorted(found)
    assert timedelta(hours=22) < sum(found, timedelta()) < timedelta(hours=26)


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_a_receiver_that_finds_fault_has_less_than_an_hour_to_change_its_mind(status):
    assert timedelta(minutes=30) < sum(delays(Answered(status=status)), timedelta()) < timedelta(hours=1)


def test_a_receiver_may_ask_for_patience_within_bounds():
    assert after(Answered(status=429, retry_after=timedelta(seconds=90))) == Again(after=timedelta(seconds=90))
    assert after(Answered(status=503, retry_after=timedelta(days=9))) == Again(after=timedelta(hours=1))


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 10))
def test_delays_are_spread(chance, attempts):
    middle = after(Unreached(reason="down"), attempts).after
    assert middle * 0.8 <= after(Unreached(reason="down"), attempts, chance).after <= middle * 1.2


def test_what_is_written_down():
    assert describe(Answered(status=503)) == "503"
    assert describe(Answered(status=302)) == "302: redirects are not followed"
    assert describe(Unreached(reason="no answer within 15 s")) == "no answer within 15 s"
