"""When a worker that died gets a successor; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

#: The first successor comes at once: most crashes are of one input, and the next request is waiting.
_DELAYS = tuple(timedelta(seconds=seconds) for seconds in (0, 0.5, 1, 2, 5, 10, 30))

#: Deaths further apart than this have nothing to do with each other.
_MEMORY = timedelta(minutes=5)

#: A set-up that worked once and now fails this often in a row will not be tried for ever.
_SETUP_ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True)
class Death:
    """A worker's unplanned end. ``was_ready`` tells whether its set-up had succeeded."""

    at: datetime
    was_ready: bool


@dataclass(frozen=True)
class Respawn:
    """Start a successor after ``delay``."""

    delay: timedelta


@dataclass(frozen=True)
class GiveUp:
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
    recent = [death for death in deaths if now - death.at < _MEMORY]
    failed_setups = 0
    for death in reversed(recent):
        if death.was_ready:
            break
        failed_setups += 1
    if failed_setups >= _SETUP_ATTEMPTS:
        return GiveUp()
    return Respawn(_DELAYS[min(max(len(recent) - 1, 0), len(_DELAYS) - 1)])
