"""How many requests were answered, and how fast: counts since the start, for those who watch."""

from __future__ import annotations

from collections import Counter

from drivetrain.platform.statistics import Histogram


class HttpStatistics:
    """Requests by gateway.

    Attributes:
        answered: By gateway, method and status.
        seconds: By gateway.
    """

    def __init__(self) -> None:
        self.answered: Counter[tuple[str, str, int]] = Counter()
        self.seconds: dict[str, Histogram] = {}

    def add(self, gateway: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        # Methods are the client's words: unknown ones must not make new series without end.
        self.answered[gateway, method if method in _METHODS else "other", status] += 1
        histogram = self.seconds.get(gateway)
        if histogram is None:
            histogram = self.seconds[gateway] = Histogram()
        histogram.add(seconds)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"})
