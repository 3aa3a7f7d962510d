"""The port for traces: what a prediction's way through the platform looks like to whoever collects spans."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from drivetrain.platform.queue import Record


class Span(Protocol):
    """A stretch of time in a trace that has begun."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What makes what somebody else does a part of it, as HTTP headers."""

    def end(self, at: datetime, error: str | None = None) -> None:
        """It is over; ``error`` if it went wrong."""


class Tracer(Protocol):
    """Begins spans, and sends them when they have ended."""

    def begin(self, name: str, headers: Mapping[str, str], at: datetime, attributes: Mapping[str, Any]) -> Span:
        """Begin a span, in the trace that the headers tell of."""

    def shutdown(self) -> None:
        """Send what has not been sent; blocks. May be called twice."""


class AttemptTrace:
    """The spans of one attempt: the prediction since its acceptance, its wait in the queue, its run in a runner.

    Args:
        began_at: When the attempt began.
        runner: In which runner.
    """

    def __init__(self, tracer: Tracer, record: Record, began_at: datetime, runner: str) -> None:
        submission = record.submission
        headers = {"traceparent": submission.trace} if submission.trace else {}
        attributes = {
            "prediction.id": submission.id,
            "prediction.mode": submission.mode.value,
            "prediction.attempt": record.attempts,
            "app": str(submission.app),
            "revision": submission.revision,
            "runner": runner,
        }
        self._whole = tracer.begin("platform.prediction", headers, submission.created_at, attributes)
        tracer.begin("platform.queue", self._whole.headers, submission.created_at, {}).end(began_at)
        self._run = tracer.begin("platform.run", self._whole.headers, began_at, {})

    @property
    def traceparent(self) -> str | None:
        """For the runner's own spans."""
        return self._run.headers.get("traceparent")

    def end(self, at: datetime, error: str | None) -> None:
        """The attempt is over."""
        self._run.end(at, error)
        self._whole.end(at, error)
