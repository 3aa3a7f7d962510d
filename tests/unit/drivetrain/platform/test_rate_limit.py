"""A sliding minute."""

from hypothesis import example, given
from hypothesis import strategies as st

from drivetrain.platform.rate_limit import WINDOW_SECONDS, SlidingLimit


def test_one_more_may_happen_when_the_oldest_is_a_minute_old():
    limit = SlidingLimit(2)
    assert [limit.take(0), limit.take(10), limit.take(20)] == [0, 0, 40]
    assert limit.take(60) == 0
    assert limit.take(60) == 10


def test_what_did_not_happen_does_not_count():
    limit = SlidingLimit(1)
    limit.take(0)
    limit.give_back()
    assert limit.take(1) == 0


def test_none_may():
    assert SlidingLimit(0).take(5) == WINDOW_SECONDS


@given(st.integers(1, 5), st.lists(st.floats(0, 40), max_size=50))
@example(1, [1.2071280629634806, 20.0, 40.0, 0.0])  # exactly a minute after the first, but for rounding
def test_never_more_than_allowed_in_any_minute(most, steps):
    limit, now, taken = SlidingLimit(most), 0.0, []
    for step in steps:
        now += step
        if not limit.take(now):
            taken.append(now)
    for moment in taken:
        assert sum(1 for other in taken if moment <= other < moment + WINDOW_SECONDS) <= most
