"""When to try again, and how long to wait before: pure, but for the sleep that it is given."""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import TypeVar

import msgspec

T = TypeVar("T")

#: Statuses that say "not now". 401 is not among them: it is answered with a token.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})

#: A registry that wants us to wait longer is told to the user instead.
LONGEST_WAIT_SECONDS = 120.0


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How patient to be.

    Attributes:
        attempts: How often a request is tried in all.
        base_seconds: Wait before the second attempt; doubles from there on.
        cap_seconds: Longest wait, unless the registry asks for more.
        sleep: Waits.
        random: Between 0 and 1; spreads the attempts of many clients.
    """

    attempts: int = 6
    base_seconds: float = 0.5
    cap_seconds: float = 20.0
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random

    def wait_seconds(self, attempt: int, headers: Mapping[str, str], now: datetime) -> float:
        """How long to wait after an attempt, counted from 1, that failed; pure."""
        asked = retry_after(headers.get("retry-after"), now)
        if asked is not None:
            return asked
        longest = min(self.cap_seconds, self.base_seconds * 2.0 ** (attempt - 1))
        return longest * (0.5 + 0.5 * self.random())


class Passing(Exception):  # noqa: N818 (it is not an error yet)
    """Something failed that may succeed when it is tried again.

    Args:
        why: In a few words.
        headers: Of the answer, if there was one.
    """

    def __init__(self, why: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.headers = headers or {}


class Exhausted(Exception):  # noqa: N818 (translated at once by whoever knows what was tried)
    """It was tried as often as the policy allows.

    Args:
        why: What failed last.
        attempts: How often it was tried.
    """

    def __init__(self, why: str, attempts: int) -> None:
        super().__init__(why)
        self.why = why
        self.attempts = attempts


def is_passing(status: int) -> bool:
    """Whether an answer with this status is worth another attempt."""
    return status in _PASSING


def retrying(policy: RetryPolicy, attempt: Callable[[], T], progress: Callable[[], int] = lambda: 0) -> T:
    """The result of the first attempt that succeeds.

    Args:
        policy: How patient to be.
        attempt: Raises ``Passing`` where another attempt is worth it.
        progress: How far it has come; attempts that got further than those before are not counted against it.

    Raises:
        Exhausted: None succeeded.
    """
    number, furthest = 0, progress()
    while True:
        number += 1
        try:
            return attempt()
        except Passing as passing:
            why, headers = passing.why, passing.headers
        if (reached := progress()) > furthest:
            number, furthest = 1, reached
        wait = policy.wait_seconds(number, headers, datetime.now(timezone.utc))
        if wait > LONGEST_WAIT_SECONDS:
            raise Exhausted(f"{why}; it wants to be left alone for {wait:.0f} s", number)
        if number >= policy.attempts:
            raise Exhausted(why, number)
        policy.sleep(wait)


def retry_after(text: str | None, now: datetime) -> float | None:
    """What a ``Retry-After`` header asks for, in seconds; it may be a number or a date."""
    if not text:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - now).total_seconds())
