"""The port for time, so that tests can turn it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time of day and the time that has passed.

    They differ when the machine's clock is set: deadlines that are stored are times of day, waiting inside this process goes by
    ``monotonic``, and decisions about what this process itself began go by ``steady``.
    """

    def now(self) -> datetime:
        """The time of day, aware and in UTC. May jump."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""

    def steady(self) -> datetime:
        """The time of day when this process began plus the time since: right at first, and never goes back."""
