"""What becomes of a prediction whose attempt came to nothing."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivetrain.platform.retry import (
    NO_RETRY,
    Condition,
    Fail,
    Happening,
    Retry,
    RetryPolicy,
    RetryWishes,
    decide,
    effective_policy,
)

POLICY = RetryPolicy(max_attempts=3)


@pytest.mark.parametrize(
    ("happening", "is_tried_again", "ends_runner"),
    [
        (Happening.BUSY, True, False),
        (Happening.SERVER_ERROR, False, False),
        (Happening.UNAVAILABLE, True, True),
        (Happening.TIMEOUT, True, False),
        (Happening.TOOK_TOO_LONG, True, False),
        (Happening.LOST, True, True),
    ],
)
def test_each_happening_has_its_consequence(happening, is_tried_again, ends_runner):
    decision = decide(happening, attempts=1, policy=POLICY)
    assert isinstance(decision, Retry if is_tried_again else Fail)
    assert decision.ends_runner == ends_runner


def test_a_slot_that_was_not_free_is_no_attempt():
    assert decide(Happening.BUSY, attempts=99, policy=POLICY) == Retry(
        after=timedelta(milliseconds=250), ends_runner=False, counts=False
    )


def test_the_last_attempt_says_that_it_was_the_last():
    decision = decide(Happening.LOST, attempts=3, policy=POLICY)
    assert decision == Fail(ends_runner=True, attempts=3)
    assert decision.message("the runner was killed by signal 9") == "the runner was killed by signal 9 (attempt 3 of 3)"


def test_an_only_attempt_is_not_counted_in_the_message():
    assert decide(Happening.LOST, attempts=1, policy=RetryPolicy(max_attempts=1)).message("it died") == "it died"
    assert decide(Happening.SERVER_ERROR, attempts=2, policy=POLICY).message("it answered 500") == "it answered 500"


@pytest.mark.parametrize(
    ("condition", "happenings"),
    [
        (Condition.TIMEOUT, {Happening.TIMEOUT, Happening.TOOK_TOO_LONG}),
        (Condition.SERVER_ERROR, {Happening.UNAVAILABLE}),
        (Condition.CONNECTION_ERROR, {Happening.LOST}),
    ],
)
def test_a_skipped_condition_fails_at_once(condition, happenings):
    policy = RetryPolicy(max_attempts=10, skip=frozenset({condition}))
    failing = {each for each in Happening if isinstance(decide(each, attempts=1, policy=policy), Fail)}
    assert failing == happenings | {Happening.SERVER_ERROR}


def test_the_answer_itself_wins():
    assert isinstance(decide(Happening.SERVER_ERROR, attempts=1, policy=POLICY, needs_retry=True), Retry)
    assert isinstance(decide(Happening.TIMEOUT, attempts=1, policy=POLICY, needs_retry=False), Fail)
    assert isinstance(decide(Happening.SERVER_ERROR, attempts=3, policy=POLICY, needs_retry=True), Fail)


def test_the_request_wins_over_the_app_and_the_app_over_the_default():
    app = RetryWishes(max_attempts=10, skip=frozenset({Condition.TIMEOUT}))
    assert effective_policy(default=POLICY) == POLICY
    assert effective_policy(app, default=POLICY) == RetryPolicy(max_attempts=10, skip=frozenset({Condition.TIMEOUT}))
    assert effective_policy(NO_RETRY, app, default=POLICY) == RetryPolicy(max_attempts=1, skip=frozenset({Condition.TIMEOUT}))
    assert effective_policy(RetryWishes(skip=frozenset()), app, default=POLICY) == RetryPolicy(max_attempts=10)


def test_what_was_lost_is_tried_again_at_once_and_then_ever_later():
    policy = RetryPolicy(max_attempts=100)
    delays = [decide(Happening.LOST, attempts=attempts, policy=policy).after.total_seconds() for attempts in range(1, 10)]
    assert delays == [0, 2, 4, 8, 16, 32, 60, 60, 60]


@given(st.sampled_from(Happening), st.integers(1, 10**9), st.integers(1, 20))
def test_nothing_is_begun_more_often_than_it_may(happening, attempts, limit):
    decision = decide(happening, attempts=attempts, policy=RetryPolicy(max_attempts=limit))
    assert isinstance(decision, Fail) or not decision.counts or attempts < limit
