"""What each API key may have at once, and in a minute."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

from drivetrain.model.errors import OutsideFailed
from drivetrain.model.prediction import PredictionId
from drivetrain.platform.access import Caller
from drivetrain.platform.clock import Clock
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
        self._under_way: dict[str, set[PredictionId]] = {}
        self._key_of: dict[PredictionId, str] = {}

    @contextlib.contextmanager
    def admitted(self, caller: Caller) -> Iterator[None]:
        """Count a prediction that is about to be accepted; it does not count if the block raises.

        Raises:
            LimitExceeded: The key has reached its limit.
        """
        key = caller.key
        if key is None:
            yield
            return
        if key.concurrency is not None and len(self._under_way.get(key.id, ())) >= key.concurrency:
            raise LimitExceeded(f"{key.concurrency} predictions of this key are under way, which is its limit", 1)
        limit = None
        if key.requests_per_minute is not None:
            limit = self._created.get(key.id)
            if limit is None or limit.most != key.requests_per_minute:
                limit = self._created[key.id] = SlidingLimit(key.requests_per_minute)
            if wait := limit.take(self._clock.monotonic()):
                seconds = math.ceil(wait)
                raise LimitExceeded(f"this key has made {limit.most} predictions in a minute, which is its limit", seconds)
        try:
            yield
        except BaseException:
            if limit is not None:
                limit.give_back()
            raise

    def accepted(self, caller: Caller, prediction_id: PredictionId) -> None:
        """Count a prediction as under way until its end."""
        if caller.key is not None and caller.key.concurrency is not None:
            self._under_way.setdefault(caller.key.id, set()).add(prediction_id)
            self._key_of[prediction_id] = caller.key.id

    def ended(self, prediction_id: PredictionId) -> None:
        """A prediction has ended. May be called twice, and for any."""
        key_id = self._key_of.pop(prediction_id, None)
        if key_id is not None:
            self._under_way[key_id].discard(prediction_id)
