"""The page that Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from drivetrain.model.prediction import TERMINAL
from drivetrain.serving.server import ModelServer
from drivetrain.serving.statistics import BUCKETS
from drivetrain.serving.supervisor import ModelState

CONTENT_TYPE = CONTENT_TYPE_LATEST.encode()


def render_metrics(server: ModelServer) -> bytes:
    """The page, as it is now."""
    registry = CollectorRegistry()
    registry.register(_ServerCollector(server))
    return generate_latest(registry)


class _ServerCollector(Collector):
    def __init__(self, server: ModelServer) -> None:
        self._server = server

    def collect(self) -> Iterator[Metric]:
        server, supervisor = self._server, self._server.supervisor
        statistics = server.statistics
        ended = CounterMetricFamily("drivetrain_predictions", "Predictions that have ended, by status.", labels=["status"])
        for status in sorted(status.value for status in TERMINAL):
            ended.add_metric([status], statistics.ended[status])
        yield ended
        cumulated = accumulate(statistics.buckets)
        bounds = [*map(str, BUCKETS), "+Inf"]
        yield HistogramMetricFamily(
            "drivetrain_prediction_seconds",
            "Running time of predictions that have ended.",
            buckets=list(zip(bounds, cumulated, strict=True)),
            sum_value=statistics.seconds,
        )
        gauges = {
            "drivetrain_predictions_under_way": ("Predictions accepted and not ended.", server.under_way),
            "drivetrain_predictions_waiting": ("Predictions that wait for a slot.", supervisor.waiting),
            "drivetrain_slots": ("Predictions that can run at once.", supervisor.capacity),
            "drivetrain_slots_free": ("Slots that are free now.", supervisor.free_slots),
            "drivetrain_worker_deaths": ("Workers that ended unasked since the start.", supervisor.deaths),
            "drivetrain_ready": ("Whether the model can run predictions.", supervisor.state is ModelState.READY),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(name, text, value=float(value))
