"""A prediction as somebody who asks for it sees it: a fold over its events, live or stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from drivetrain.model.prediction import Event, Failure, Prediction, PredictionId, Status
from drivetrain.platform.queue import Record, Submission


@dataclass(frozen=True, kw_only=True)
class PredictionView:
    """What is known of a prediction at one moment. Files in ``input`` and ``output`` are references.

    Attributes:
        output: A list where the model gives items, even of none yet; else the result, or ``None``.
        event_count: Events so far, of this attempt.
        attempt: Counts from 1; 0 while it waits for its first.
    """

    submission: Submission
    status: Status
    streams: bool
    output: Any
    logs: str
    metrics: Mapping[str, Any]
    failure: Failure | None
    started_at: datetime | None
    completed_at: datetime | None
    event_count: int
    attempt: int
    cancel_requested: bool
    data_removed: bool
    history: tuple[str, ...]

    @property
    def id(self) -> PredictionId:
        """The prediction's id."""
        return self.submission.id

    @property
    def predict_seconds(self) -> float | None:
        """From its start to its end."""
        if self.started_at is None or self.completed_at is None:
            return None
        return (self.completed_at - self.started_at).total_seconds()

    @property
    def total_seconds(self) -> float | None:
        """From its acceptance to its end."""
        return None if self.completed_at is None else (self.completed_at - self.submission.created_at).total_seconds()


def fold(submission: Submission, events: Iterable[Event], *, streams: bool) -> Prediction:
    """The prediction that the events make."""
    prediction = Prediction(
        id=submission.id,
        mode=submission.mode,
        input=submission.input,
        created_at=submission.created_at,
        streams=streams,
        context=submission.context,
    )
    for event in events:
        prediction.apply(event)
    return prediction


def view(record: Record, prediction: Prediction | None, *, streams: bool) -> PredictionView:
    """What somebody sees.

    Args:
        record: As the store knows it.
        prediction: The live one, if it is under way here; else it is folded from the record.
        streams: Whether the model's output comes in items.
    """
    if prediction is None:
        prediction = fold(record.submission, record.events, streams=streams)
        status, started_at, completed_at = record.status, record.started_at, record.completed_at
    else:
        status, started_at, completed_at = prediction.status, prediction.started_at, prediction.completed_at
    values = [output.value for output in prediction.outputs]
    return PredictionView(
        submission=record.submission,
        status=status,
        streams=streams,
        output=values if streams else (values[-1] if values else None),
        logs=prediction.logs,
        metrics=prediction.metrics,
        failure=prediction.failure,
        started_at=started_at,
        completed_at=completed_at,
        event_count=prediction.event_count,
        attempt=record.attempts,
        cancel_requested=record.cancel_requested,
        data_removed=record.data_removed,
        history=record.history,
    )
