"""Whether a webhook is sent again, and when; pure.

A receiver that is down comes back within a day, most often within minutes; one that says what is wrong with the request (a 4xx) is
wrong itself if it is being released right now, and else will say the same tomorrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

#: After the first attempt, the second, and so on: a day in all.
_DELAYS = tuple(
    timedelta(seconds=seconds) for seconds in (5, 30, 2 * 60, 10 * 60, 30 * 60, 3600, 2 * 3600, 4 * 3600, 6 * 3600, 10 * 3600)
)

#: The last delay before which an answer that says "your fault" is not believed yet: some 40 minutes.
_BELIEVED_AFTER = 5

#: Receivers that ask for more patience than this are asked again nevertheless.
_LONGEST_RETRY_AFTER = timedelta(hours=1)

#: So many more or less of each delay, so that what failed together does not come again together.
_JITTER = 0.2

_GONE = 410
_TRY_LATER = frozenset({408, 425, 429})


@dataclass(frozen=True, kw_only=True)
class Answered:
    """The receiver answered.

    Attributes:
        retry_after: When it wants to be asked again, if it said so.
    """

    status: int
    retry_after: timedelta | None = None


@dataclass(frozen=True, kw_only=True)
class Unreached:
    """The receiver did not answer, and why."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The URL is none that may be called, and why."""

    reason: str


Result: TypeAlias = Answered | Unreached | Refused


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """It arrived."""


@dataclass(frozen=True, kw_only=True)
class Again:
    """Send it again after a while."""

    after: timedelta


@dataclass(frozen=True, kw_only=True)
class GiveUp:
    """Send it no more."""


def decide(result: Result, *, attempts: int, chance: float) -> Delivered | Again | GiveUp:
    """What to do after an attempt.

    Args:
        attempts: How many there have been, this one included.
        chance: Random, from 0 up to 1.
    """
    if isinstance(result, Refused):
        return GiveUp()
    most = len(_DELAYS)
    retry_after = None
    if isinstance(result, Answered):
        if 200 <= result.status < 300:
            return Delivered()
        if 300 <= result.status < 400 or result.status == _GONE:  # a redirect could lead anywhere, with what is private in the body
            return GiveUp()
        if 400 <= result.status < 500 and result.status not in _TRY_LATER:
            most = _BELIEVED_AFTER
        retry_after = result.retry_after
    if attempts > most:
        return GiveUp()
    delay = _DELAYS[attempts - 1] * (1 + _JITTER * (2 * chance - 1))
    return Again(after=max(delay, min(retry_after or timedelta(0), _LONGEST_RETRY_AFTER)))


def describe(result: Result) -> str:
    """What is written down about an attempt."""
    if isinstance(result, Answered):
        if 300 <= result.status < 400:
            return f"{result.status}: redirects are not followed"
        return str(result.status)
    return result.reason
