"""When a worker that died gets a successor; pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import takewhile

import msgspec

#: The first successor comes at once: most crashes are of one input, and the next request is waiting.
_DELAYS = tuple(timedelta(seconds=seconds) for seconds in (0, 0.5, 1, 2, 5, 10, 30))

#: Deaths further apart than this have nothing to do with each other.
_MEMORY = timedelta(minutes=5)

#: A set-up that worked once and now fails this often in a row will not be tried for ever.
_SETUP_ATTEMPTS = 5


class Death(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's unplanned end.

    Attributes:
        was_ready: Whether its set-up had succeeded.
        was_useful: Whether it had completed a prediction. Then the worker was well, and what ended it was one prediction, which
            is not run again.
    """

    at: datetime
    was_ready: bool
    was_useful: bool = False


class Respawn(msgspec.Struct, frozen=True):
    """Start a successor after ``delay``."""

    delay: timedelta


class GiveUp(msgspec.Struct, frozen=True):
    """Start none; what is wrong does not mend itself."""


def decide(deaths: Sequence[Death], now: datetime, *, ever_ready: bool) -> Respawn | GiveUp:
    """What to do after the last of ``deaths``.

    Args:
        deaths: Unplanned ends of the model's workers, oldest first, at least one.
        now: The present.
        ever_ready: Whether any worker of this model was ever ready. The first set-up is not tried again: it fails for a
            reason that the author must mend.
    """
    if not ever_ready:
        return GiveUp()
    in_a_row = list(takewhile(lambda death: not death.was_useful and now - death.at < _MEMORY, reversed(deaths)))
    failed_setups = len(list(takewhile(lambda death: not death.was_ready, in_a_row)))
    if failed_setups >= _SETUP_ATTEMPTS:
        return GiveUp()
    return Respawn(_DELAYS[min(max(len(in_a_row) - 1, 0), len(_DELAYS) - 1)])
