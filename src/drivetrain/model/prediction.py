"""The life cycle of a prediction: an append-only, numbered list of events, and one table that says which may follow which.

The synchronous reply, the stored record, the stream and the command line's progress are folds over that list. Nothing else
decides what a status is.

        starting ──Started──▶ processing ──Completed──▶ succeeded | failed | canceled
            └──────────────────Completed───────────────▶ failed | canceled

``Output``, ``Log`` and ``Metric`` may come while the prediction is processing, and ``Log`` also before it started (waiting
for a slot and fetching its files produce log lines too). After ``Completed`` nothing may come.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, NewType, TypeAlias

import msgspec

from drivetrain.model.errors import InternalError
from drivetrain.model.project import Mode

PredictionId = NewType("PredictionId", str)


class Status(str, Enum):
    """Where a prediction is in its life. The values are the words on the wire."""

    STARTING = "starting"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing can follow."""
        return self in TERMINAL


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELED})


class Source(str, Enum):
    """The stream a log came from."""

    STDOUT = "stdout"
    STDERR = "stderr"


class MetricMode(str, Enum):
    """How a metric's value joins the one recorded before."""

    REPLACE = "replace"
    INCREMENT = "increment"
    APPEND = "append"


class OutputFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file inside an output value.

    Attributes:
        pointer: Keys and indexes that lead to the place in the value; the value holds ``None`` there.
        path: The file's content, in a directory that lives as long as the prediction's record.
        name: The base name the model gave it.
    """

    pointer: tuple[str | int, ...]
    path: Path
    name: str


class OutputValue(msgspec.Struct, frozen=True, kw_only=True):
    """What a model returned or yielded: a JSON value, and the files it refers to."""

    value: Any
    files: tuple[OutputFile, ...] = ()


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """A worker began to run the prediction."""

    at: datetime


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """The model yielded one item of an iterator, or returned its only result."""

    output: OutputValue


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """The model wrote to a standard stream. ``data`` keeps carriage returns and missing line ends."""

    source: Source
    data: str


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """The model recorded a metric. The name is dotted; ``None`` with ``REPLACE`` deletes it."""

    name: str
    value: Any
    mode: MetricMode = MetricMode.REPLACE


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a prediction failed.

    Attributes:
        message: One readable sentence, once.
        traceback: The author's frames of the traceback, if the code raised.
        worker_lost: Whether the code did not fail by itself: the worker died, or was ended, while it ran.
    """

    message: str
    traceback: str | None = None
    worker_lost: bool = False


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """The prediction ended. ``failure`` is set exactly when the status is ``FAILED``."""

    status: Status
    at: datetime
    failure: Failure | None = None


Event: TypeAlias = Started | Output | Log | Metric | Completed

#: The one table: which events a status allows, and which status an event without a status of its own leads to.
TRANSITIONS: Mapping[Status, Mapping[type[Event], Status | None]] = {
    Status.STARTING: {Started: Status.PROCESSING, Log: Status.STARTING, Completed: None},
    Status.PROCESSING: {
        Output: Status.PROCESSING,
        Log: Status.PROCESSING,
        Metric: Status.PROCESSING,
        Completed: None,
    },
    Status.SUCCEEDED: {},
    Status.FAILED: {},
    Status.CANCELED: {},
}


class Prediction(msgspec.Struct, kw_only=True):
    """One run of a model: what was asked, and everything that has happened since.

    Owned by whoever runs it; views only read.

    Attributes:
        id: Identifies it among its model's predictions.
        mode: Prediction or training.
        input: The inputs as they were given, secrets masked; what views show.
        created_at: When it was accepted.
        streams: Whether the signature says that it yields items, so that its output is a list.
        context: The request's ``context`` field.
    """

    id: PredictionId
    input: Mapping[str, Any]
    created_at: datetime
    mode: Mode = Mode.PREDICT
    streams: bool = False
    context: Mapping[str, str] = {}
    status: Status = Status.STARTING
    started_at: datetime | None = None
    completed_at: datetime | None = None
    outputs: list[OutputValue] = []
    failure: Failure | None = None
    metrics: dict[str, Any] = {}
    event_count: int = 0
    _logs: list[str] = []

    def apply(self, event: Event) -> None:
        """Fold the next event in.

        Raises:
            InternalError: The table does not allow the event now. The prediction is unchanged.
        """
        allowed = TRANSITIONS[self.status]
        if type(event) not in allowed:
            raise InternalError(f"prediction '{self.id}' is {self.status.value} and cannot take {type(event).__name__}")
        following = allowed[type(event)]
        match event:
            case Started():
                self.started_at = event.at
            case Output():
                self.outputs.append(event.output)
            case Log():
                self._logs.append(event.data)
            case Metric():
                record_metric(self.metrics, event)
            case Completed():
                self._complete(event)
                following = event.status
        assert following is not None
        self.status = following
        self.event_count += 1

    def _complete(self, event: Completed) -> None:
        if not event.status.is_terminal or (event.status is Status.FAILED) != (event.failure is not None):
            raise InternalError(f"prediction '{self.id}' cannot complete as {event.status.value}")
        if self.status is Status.STARTING and event.status is Status.SUCCEEDED:
            raise InternalError(f"prediction '{self.id}' cannot succeed before it started")
        self.completed_at = event.at
        self.failure = event.failure

    @property
    def logs(self) -> str:
        """Everything the model wrote, in order."""
        if len(self._logs) > 1:
            self._logs[:] = ["".join(self._logs)]
        return self._logs[0] if self._logs else ""

    @property
    def predict_seconds(self) -> float | None:
        """Time from start to end, once both are known."""
        if self.started_at is None or self.completed_at is None:
            return None
        return (self.completed_at - self.started_at).total_seconds()


def record_metric(metrics: dict[str, Any], metric: Metric) -> None:
    """Join a metric to those recorded; the dots in its name are levels of nesting."""
    *parents, leaf = metric.name.split(".")
    level = metrics
    for parent in parents:
        inner = level.setdefault(parent, {})
        if not isinstance(inner, dict):
            inner = level[parent] = {}
        level = inner
    if metric.mode is MetricMode.INCREMENT:
        before = level.get(leaf, 0)
        if isinstance(before, (int, float)) and not isinstance(before, bool):  # what is no number stays, as in Cog
            level[leaf] = before + metric.value
    elif metric.mode is MetricMode.APPEND:
        before = level.get(leaf, [])
        level[leaf] = [*before, metric.value] if isinstance(before, list) else [before, metric.value]
    elif metric.value is None:
        level.pop(leaf, None)
    else:
        level[leaf] = metric.value
