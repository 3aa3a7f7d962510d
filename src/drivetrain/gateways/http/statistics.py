"""How many requests were answered, and how fast: counts since the start, for metrics."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

#: Upper bounds of the histogram, seconds. The last bucket, without bound, is not named.
BUCKETS: Sequence[float] = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Histogram:
    """Counts values by size.

    Attributes:
        counts: Of values up to each bound and above the one before; the last of those above all bounds.
        total: Sum of the values.
    """

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(BUCKETS, value)] += 1
        self.total += value


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
