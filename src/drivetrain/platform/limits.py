"""What each API key may have at once, and in a minute."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterator

from drivetrain.model.errors import OutsideFailed
from drivetrain.model.prediction import PredictionId
from drivetrain.platform.access import Caller
from drivetrain.platform.app import AppName
from drivetrain.platform.clock import Clock
from drivetrain.platform.queue import Submission
from drivetrain.platform.rate_limit import SlidingLimit


class LimitExceeded(OutsideFailed):
    """A key has reached its limit.

    Args:
        retry_after: Seconds after which it may be tried again.
    """

    code = "limit_exceeded"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message, hint=f"try again in {retry_after} s, or have the key's limit raised")
        self.retry_after = retry_after


class Limits:
    """Owns the counts of every key that has a limit. In memory: after a restart everybody begins anew."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._created: dict[str, SlidingLimit] = {}
        self._under_way: Counter[str] = Counter()
        self._known: dict[PredictionId, tuple[AppName, str]] = {}

    @contextlib.contextmanager
    def admitted(self, caller: Caller) -> Iterator[None]:
        """Keep a place for a prediction while it is being accepted in the block, which says so with ``accepted``.

        Raises:
            LimitExceeded: The key has reached its limit.
        """
        key = caller.key
        if key is None:
            yield
            return
        if key.concurrency is not None and self._under_way[key.id] >= key.concurrency:
            raise LimitExceeded(f"{key.concurrency} predictions of this key are under way, which is its limit", 1)
        limit = None
        if key.requests_per_minute is not None:
            limit = self._created.get(key.id)
            if limit is None or limit.most != key.requests_per_minute:
                limit = self._created[key.id] = SlidingLimit(key.requests_per_minute)
            if wait := limit.take(self._clock.monotonic()):
                seconds = math.ceil(wait)
                raise LimitExceeded(f"this key has made {limit.most} predictions in a minute, which is its limit", seconds)
        self._under_way[key.id] += 1  # what comes while this one is being written must find its place taken
        try:
            yield
        except BaseException:
            if limit is not None:
                limit.give_back()
            raise
        finally:
            self._under_way[key.id] -= 1  # an accepted one is counted by its id now

    def accepted(self, caller: Caller, submission: Submission) -> None:
        """Count a prediction as under way until its end."""
        if caller.key is not None and caller.key.concurrency is not None:
            self._under_way[caller.key.id] += 1
            self._known[submission.id] = submission.app, caller.key.id

    def ended(self, prediction_id: PredictionId) -> None:
        """A prediction has ended. May be called twice, and for any."""
        known = self._known.pop(prediction_id, None)
        if known is not None:
            self._under_way[known[1]] -= 1

    def forget(self, app: AppName) -> None:
        """An app was removed, and what was under way of it has ended."""
        for prediction_id in [each for each, (of_app, _) in self._known.items() if of_app == app]:
            self.ended(prediction_id)
