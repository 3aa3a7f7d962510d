"""Spans of predictions for OpenTelemetry, when the process environment asks for them.

For each prediction there is one span from its acceptance to its end, a child of the trace that the request came with, and below it
one span for the wait and one for the run. Needs the ``tracing`` extra; slow to import, so only imported when configured.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.trace.status import StatusCode

from drivetrain import __version__
from drivetrain.model.prediction import Completed, Event, Started, Status
from drivetrain.serving.run import Run


class Tracing:
    """Owns the exporter of a server's spans. Where they go is read by OpenTelemetry from its own variables.

    Args:
        service: Name of the service, unless ``OTEL_SERVICE_NAME`` says another.
    """

    def __init__(self, service: str) -> None:
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: service}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("drivetrain", __version__)

    def follow(self, run: Run, headers: Mapping[str, str]) -> None:
        """Trace a run from now to its end.

        Args:
            run: A run that has just been accepted.
            headers: The request's ``traceparent`` and ``tracestate``.
        """
        context = TraceContextTextMapPropagator().extract(dict(headers))
        accepted_at = run.prediction.created_at
        attributes: dict[str, Any] = {"prediction.id": run.id, "prediction.mode": run.prediction.mode.value}
        span = self._tracer.start_span(
            "prediction", context, kind=trace.SpanKind.SERVER, attributes=attributes, start_time=_nanoseconds(accepted_at)
        )
        inside = trace.set_span_in_context(span)
        stage = self._tracer.start_span("prediction.wait", inside, start_time=_nanoseconds(accepted_at))

        def watch(event: Event) -> None:
            nonlocal stage
            if isinstance(event, Started):
                stage.end(_nanoseconds(event.at))
                stage = self._tracer.start_span("prediction.run", inside, start_time=_nanoseconds(event.at))
            elif isinstance(event, Completed):
                stage.end(_nanoseconds(event.at))
                span.set_attribute("prediction.status", event.status.value)
                if event.status is Status.FAILED and event.failure is not None:
                    span.set_status(StatusCode.ERROR, event.failure.message)
                span.end(_nanoseconds(event.at))

        run.add_watcher(watch)

    def begin(self, name: str, headers: Mapping[str, str], at: datetime, attributes: Mapping[str, Any]) -> OpenSpan:
        """Begin a span, in the trace that the headers tell of."""
        context = TraceContextTextMapPropagator().extract(dict(headers))
        span = self._tracer.start_span(name, context, attributes=dict(attributes), start_time=_nanoseconds(at))
        return OpenSpan(span)

    def shutdown(self) -> None:
        """Send what has not been sent. May be called twice."""
        self._provider.shutdown()


class OpenSpan:
    """A span that has begun."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def headers(self) -> Mapping[str, str]:
        """What makes what somebody else does a part of it."""
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier, trace.set_span_in_context(self._span))
        return carrier

    def end(self, at: datetime, error: str | None = None) -> None:
        """It is over; ``error`` if it went wrong."""
        if error is not None:
            self._span.set_status(StatusCode.ERROR, error)
        self._span.end(_nanoseconds(at))


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000_000)
