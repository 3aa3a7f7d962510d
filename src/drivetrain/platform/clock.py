"""The port for time, so that tests can turn it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time of day and the time that has passed.

    The two differ when the machine's clock is set: deadlines that are stored are times of day, waiting inside this process goes by
    ``monotonic``.
    """

    def now(self) -> datetime:
        """The present, aware and in UTC."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""
