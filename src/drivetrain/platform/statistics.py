"""What has happened since the start, as counts, for those who watch."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from drivetrain.model.prediction import Prediction, Status
from drivetrain.platform.app import AppName

#: Upper bounds of the histograms, seconds. The last bucket, without bound, is not named.
BUCKETS: Sequence[float] = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


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


@dataclass(kw_only=True)
class AppStatistics:
    """An app's predictions that have ended.

    Attributes:
        ended: How many, by status.
        waited: From acceptance to start, of those that started.
        ran: From start to end.
    """

    ended: Counter[Status] = field(default_factory=Counter)
    waited: Histogram = field(default_factory=Histogram)
    ran: Histogram = field(default_factory=Histogram)


class Statistics:
    """Owns the counts of all apps."""

    def __init__(self) -> None:
        self._apps: dict[AppName, AppStatistics] = {}

    def of(self, app: AppName) -> AppStatistics:
        """An app's."""
        return self._apps.get(app) or AppStatistics()

    def add(self, app: AppName, prediction: Prediction) -> None:
        """Count a prediction that has ended."""
        own = self._apps.get(app)
        if own is None:
            own = self._apps[app] = AppStatistics()
        own.ended[prediction.status] += 1
        if prediction.started_at is not None:
            own.waited.add(max(0.0, (prediction.started_at - prediction.created_at).total_seconds()))
        if (seconds := prediction.predict_seconds) is not None:
            own.ran.add(max(0.0, seconds))

    def forget(self, app: AppName) -> None:
        """Forget an app that was removed."""
        self._apps.pop(app, None)
