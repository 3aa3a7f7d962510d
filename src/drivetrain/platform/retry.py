"""What becomes of a prediction whose attempt came to nothing; pure.

| what happened | the runner | the prediction | fal's condition |
|---|---|---|---|
| it had no free slot after all | stays | waits again; the attempt does not count | |
| 500, 502 | stays | fails, unless the answer asks for another attempt | |
| 503 | is ended | is tried again | ``server_error`` |
| 504 | stays | is tried again | ``timeout`` |
| the attempt took too long | stays | is tried again | ``timeout`` |
| the runner ended, or broke the connection | is ended | is tried again | ``connection_error`` |

fal also ends a runner in which an attempt took too long. Ours cancels that one prediction and, if it does not obey, replaces its
own worker: the others that run beside it are not its fault.

A model that ran and said that it failed has given its answer: that is no matter of this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from typing import TypeAlias

#: What was lost with its runner is tried again at once, for most often it was not the cause; from then on it waits, ever longer.
_FIRST_DELAY = timedelta(seconds=1)
_LONGEST_DELAY = timedelta(minutes=1)

#: A slot that was not free is free again soon; asking at once would only ask in circles.
_BUSY_DELAY = timedelta(milliseconds=250)


class Happening(Enum):
    """How an attempt came to nothing."""

    BUSY = "busy"
    SERVER_ERROR = "server_error"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    TOOK_TOO_LONG = "took_too_long"
    LOST = "lost"


class Condition(str, Enum):
    """What a policy can be told not to retry, in the words of fal's ``skip_retry_conditions``."""

    TIMEOUT = "timeout"
    SERVER_ERROR = "server_error"
    CONNECTION_ERROR = "connection_error"


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often to try, and after what.

    Attributes:
        max_attempts: In all, the first one included.
        skip: After these it is not tried again.
    """

    max_attempts: int
    skip: frozenset[Condition] = frozenset()


@dataclass(frozen=True, kw_only=True)
class RetryWishes:
    """What somebody said about retrying; ``None`` where nothing was said."""

    max_attempts: int | None = None
    skip: frozenset[Condition] | None = None


#: What ``X-Fal-No-Retry`` says.
NO_RETRY = RetryWishes(max_attempts=1)


def effective_policy(*wishes: RetryWishes, default: RetryPolicy) -> RetryPolicy:
    """The policy that holds: of each part the first wish that says something about it.

    Args:
        wishes: Strongest first: the request's, then the app's.
    """
    policy = default
    for wish in reversed(wishes):
        policy = replace(
            policy,
            max_attempts=policy.max_attempts if wish.max_attempts is None else max(1, wish.max_attempts),
            skip=policy.skip if wish.skip is None else wish.skip,
        )
    return policy


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Give the prediction back to the queue.

    Attributes:
        after: How long it waits at least.
        ends_runner: Whether its runner must be ended.
        counts: Whether the attempt counts as one.
    """

    after: timedelta
    ends_runner: bool
    counts: bool = True


@dataclass(frozen=True, kw_only=True)
class Fail:
    """End the prediction as failed.

    Attributes:
        ends_runner: Whether its runner must be ended.
        attempts: How many there were, if it is because there may be no more; else ``None``.
    """

    ends_runner: bool
    attempts: int | None = None

    def message(self, what_happened: str) -> str:
        """The prediction's error.

        Args:
            what_happened: In the last attempt, as a sentence without its full stop.
        """
        if self.attempts is None or self.attempts < 2:
            return what_happened
        return f"{what_happened} (attempt {self.attempts} of {self.attempts})"


Decision: TypeAlias = Retry | Fail


@dataclass(frozen=True, kw_only=True)
class _Rule:
    condition: Condition | None
    ends_runner: bool = False
    first_delay: timedelta = _FIRST_DELAY


_RULES: Mapping[Happening, _Rule] = {
    Happening.SERVER_ERROR: _Rule(condition=None),
    Happening.UNAVAILABLE: _Rule(condition=Condition.SERVER_ERROR, ends_runner=True),
    Happening.TIMEOUT: _Rule(condition=Condition.TIMEOUT),
    Happening.TOOK_TOO_LONG: _Rule(condition=Condition.TIMEOUT),
    Happening.LOST: _Rule(condition=Condition.CONNECTION_ERROR, ends_runner=True, first_delay=timedelta(0)),
}


def decide(happening: Happening, *, attempts: int, policy: RetryPolicy, needs_retry: bool | None = None) -> Decision:
    """What to do after an attempt that came to nothing.

    Args:
        attempts: How many have been begun, this one included.
        needs_retry: What the answer itself said about another attempt (``X-Fal-Needs-Retry``), if it said anything.
    """
    if happening is Happening.BUSY:
        return Retry(after=_BUSY_DELAY, ends_runner=False, counts=False)
    rule = _RULES[happening]
    is_worth_it = needs_retry if needs_retry is not None else rule.condition is not None and rule.condition not in policy.skip
    if not is_worth_it:
        return Fail(ends_runner=rule.ends_runner)
    if attempts >= policy.max_attempts:
        return Fail(ends_runner=rule.ends_runner, attempts=attempts)
    return Retry(after=_delay(rule, attempts), ends_runner=rule.ends_runner)


def _delay(rule: _Rule, attempts: int) -> timedelta:
    if attempts <= 1:
        return rule.first_delay
    doublings: int = min(attempts - 1, 16)
    return min(_FIRST_DELAY * (1 << doublings), _LONGEST_DELAY)
