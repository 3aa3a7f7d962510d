"""The parts of the registry client that decide: when to try again, what a challenge wants."""

from datetime import datetime, timezone

import pytest

from drivetrain.images.registry.authentication import parse_challenge
from drivetrain.images.registry.credentials import Credentials
from drivetrain.images.registry.retry import Exhausted, Passing, RetryPolicy, retry_after, retrying

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3", 3),
        (" 0 ", 0),
        ("Thu, 01 Jan 2026 00:00:20 GMT", 20),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0),
        ("soon", None),
        ("-1", None),
        (None, None),
    ],
)
def test_retry_after_is_a_number_or_a_date(text, seconds):
    assert retry_after(text, NOW) == seconds


def test_waits_double_up_to_a_limit_and_are_spread():
    policy = RetryPolicy(random=lambda: 0.0)
    assert [policy.wait_seconds(number, {}, NOW) for number in (1, 2, 3, 9)] == [0.25, 0.5, 1.0, 10.0]


def failing(*errors):
    left = list(errors)

    def attempt():
        if left:
            raise left.pop(0)
        return "done"

    return attempt


def test_what_passes_is_tried_again():
    waits = []
    policy = RetryPolicy(sleep=waits.append, random=lambda: 1.0)
    assert retrying(policy, failing(Passing("busy", {"retry-after": "9"}), Passing("cut"))) == "done"
    assert waits == [9.0, 1.0]


def test_what_does_not_pass_is_not():
    with pytest.raises(ValueError, match="ours"):
        retrying(RetryPolicy(sleep=pytest.fail), failing(ValueError("ours")))


def test_the_last_failure_is_told():
    with pytest.raises(Exhausted, match="third"):
        retrying(RetryPolicy(attempts=3, sleep=lambda _: None), failing(Passing("first"), Passing("second"), Passing("third")))


def test_attempts_that_get_further_are_not_counted():
    reached = [0]

    def attempt():
        if reached[0] < 10:
            reached[0] += 1
            raise Passing("cut")
        return "done"

    assert retrying(RetryPolicy(attempts=2, sleep=lambda _: None), attempt, lambda: reached[0]) == "done"


def test_challenges_are_read_with_commas_in_their_values():
    challenge = parse_challenge('Bearer realm="https://auth/token",service="reg",scope="repository:a/b:pull,push"')
    assert challenge.parameters["scope"] == "repository:a/b:pull,push"
    assert parse_challenge('basic realm="x"').scheme == "basic"
    assert parse_challenge("Negotiate") is None


def test_a_password_is_not_shown():
    assert "secret" not in repr(Credentials(username="a", password="secret"))
