"""Routes for those who watch over the platform: health, readiness, metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from drivetrain.gateways.http.answer import Json
from drivetrain.gateways.http.guard import Admits, Guard
from drivetrain.gateways.http.statistics import HttpStatistics
from drivetrain.model.prediction import TERMINAL
from drivetrain.platform.access import Caller
from drivetrain.platform.app import App, AppName, Revision, RevisionId
from drivetrain.platform.key import Scope
from drivetrain.platform.platform import Figures
from drivetrain.platform.queue import Load
from drivetrain.platform.runners import RunnerState, RunnerView
from drivetrain.platform.statistics import BUCKETS, Histogram


class Observed(Protocol):
    """What is watched; ``Platform`` is."""

    def apps(self, caller: Caller) -> list[App]:
        """The apps that the caller may call."""

    def runners(self, caller: Caller) -> list[RunnerView]:
        """The runners of the caller's apps."""

    async def load(self, caller: Caller) -> dict[RevisionId, Load]:
        """What waits and runs, by revision."""

    def revision(self, caller: Caller, revision_id: RevisionId) -> Revision:
        """A revision."""

    def figures(self, caller: Caller) -> Figures:
        """What has happened since the start, in numbers."""


def routes(guard: Guard, platform: Observed, http: Callable[[], HttpStatistics]) -> Sequence[BaseRoute]:
    """``/``: what this is. ``/healthz``, ``/readyz``: it answers. ``/metrics``: figures, for administrators' keys."""

    async def index(_request: Request, _caller: Caller) -> Response:
        return Json({"name": "drivetrain", "api": "/api/v1", "replicate": "/v1", "health": "/healthz", "metrics": "/metrics"})

    async def alive(_request: Request, _caller: Caller) -> Response:
        return Json({"status": "alive"})

    async def ready(_request: Request, _caller: Caller) -> Response:
        return Json({"status": "ready"})

    async def metrics(_request: Request, caller: Caller) -> Response:
        caller.require(Scope.ADMIN)
        snapshot = Snapshot(
            apps=platform.apps(caller),
            runners=platform.runners(caller),
            queues=await _queues(platform, caller),
            figures=platform.figures(caller),
            http=http(),
        )
        return Response(render(snapshot), media_type=CONTENT_TYPE_LATEST)

    return [
        guard.route("/", index, "GET", admits=Admits.ANYBODY),
        guard.route("/healthz", alive, "GET", admits=Admits.ANYBODY),
        guard.route("/readyz", ready, "GET", admits=Admits.ANYBODY),
        guard.route("/metrics", metrics, "GET"),
    ]


async def _queues(platform: Observed, caller: Caller) -> dict[AppName, tuple[int, int]]:
    queues: dict[AppName, tuple[int, int]] = {}
    for revision_id, load in (await platform.load(caller)).items():
        name = platform.revision(caller, revision_id).app
        waiting, running = queues.get(name, (0, 0))
        queues[name] = (waiting + load.waiting, running + load.running)
    return queues


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What the page is made of.

    Attributes:
        queues: How many predictions wait and run, by app.
    """

    apps: Sequence[App]
    runners: Sequence[RunnerView]
    queues: Mapping[AppName, tuple[int, int]]
    figures: Figures
    http: HttpStatistics


def render(snapshot: Snapshot) -> bytes:
    """The page that Prometheus scrapes."""
    registry = CollectorRegistry()
    registry.register(_Page(snapshot))
    return generate_latest(registry)


class _Page(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        yield from self._now()
        yield from self._of_apps()
        yield from self._of_platform()
        yield from self._of_http()

    def _now(self) -> Iterator[Metric]:
        """What there is at this moment."""
        runners = GaugeMetricFamily("drivetrain_app_runners", "Runners, by app and state.", labels=["app", "state"])
        slots = GaugeMetricFamily("drivetrain_app_slots", "Predictions that an app's runners can run at once.", labels=["app"])
        waiting = GaugeMetricFamily("drivetrain_queue_size", "Predictions that wait.", labels=["app"])
        running = GaugeMetricFamily("drivetrain_app_concurrent_requests", "Predictions in runners.", labels=["app"])
        for app in self._snapshot.apps:
            name = str(app.name)
            own = [runner for runner in self._snapshot.runners if runner.app == app.name]
            for state in (RunnerState.STARTING, RunnerState.READY, RunnerState.DRAINING):
                runners.add_metric([name, state.value], sum(runner.state is state for runner in own))
            slots.add_metric([name], sum(runner.slots for runner in own))
            queue = self._snapshot.queues.get(app.name, (0, 0))
            waiting.add_metric([name], queue[0])
            running.add_metric([name], queue[1])
        yield from (runners, slots, waiting, running)

    def _of_apps(self) -> Iterator[Metric]:
        """What has become of predictions."""
        ended = CounterMetricFamily("drivetrain_app_requests", "Predictions that have ended, by status.", labels=["app", "status"])
        waited = HistogramMetricFamily("drivetrain_app_wait_seconds", "From acceptance to start.", labels=["app"])
        ran = HistogramMetricFamily("drivetrain_app_request_seconds", "From start to end.", labels=["app"])
        for app, statistics in self._snapshot.figures.apps.items():
            for status in sorted(TERMINAL):
                ended.add_metric([str(app), status.value], statistics.ended[status])
            waited.add_metric([str(app)], *_cumulated(statistics.waited))
            ran.add_metric([str(app)], *_cumulated(statistics.ran))
        yield from (ended, waited, ran)

    def _of_platform(self) -> Iterator[Metric]:
        figures = self._snapshot.figures
        starts = CounterMetricFamily("drivetrain_cold_starts", "Runners that were started, by result.", labels=["result"])
        starts.add_metric(["ready"], figures.cold_starts.count)
        starts.add_metric(["failed"], figures.cold_starts.failed)
        yield starts
        yield CounterMetricFamily(
            "drivetrain_cold_start_seconds", "Time that runners took to become ready, in all.", value=figures.cold_starts.seconds
        )
        webhooks = CounterMetricFamily("drivetrain_webhooks", "Webhooks, by what became of them.", labels=["result"])
        webhooks.add_metric(["delivered"], figures.webhooks_delivered)
        webhooks.add_metric(["given_up"], figures.webhooks_given_up)
        yield webhooks

    def _of_http(self) -> Iterator[Metric]:
        http = self._snapshot.http
        answered = CounterMetricFamily(
            "drivetrain_http_requests", "Requests that have been answered.", labels=["gateway", "method", "status"]
        )
        for (gateway, method, status), count in sorted(http.answered.items()):
            answered.add_metric([gateway, method, str(status)], count)
        yield answered
        seconds = HistogramMetricFamily(
            "drivetrain_http_request_seconds", "How long requests took, waiting for predictions included.", labels=["gateway"]
        )
        for gateway, histogram in http.seconds.items():
            seconds.add_metric([gateway], *_cumulated(histogram))
        yield seconds


def _cumulated(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    bounds = [*map(str, BUCKETS), "+Inf"]
    return [(bound, float(count)) for bound, count in zip(bounds, accumulate(histogram.counts), strict=True)], histogram.total
