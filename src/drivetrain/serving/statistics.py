"""What a model server counts, for whoever scrapes it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from drivetrain.model.prediction import Prediction

#: Upper bounds of the histogram's buckets, in seconds: models answer in milliseconds or in many minutes.
BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


class Statistics:
    """Counts of predictions that have ended. Owned by a model server; others read.

    Attributes:
        ended: How many ended, by status.
        seconds: Sum of the running times of those that ran.
        buckets: How many ran for at most each bound of ``BUCKETS``, and longer; not cumulated.
    """

    def __init__(self) -> None:
        self.ended: Counter[str] = Counter()
        self.seconds = 0.0
        self.buckets = [0] * (len(BUCKETS) + 1)

    def record(self, prediction: Prediction) -> None:
        """Count a prediction that has ended."""
        self.ended[prediction.status.value] += 1
        if (seconds := prediction.predict_seconds) is not None:
            self.seconds += seconds
            self.buckets[bisect_left(BUCKETS, seconds)] += 1
