"""The ends that a store gives predictions by itself, and the deliveries that tell of ends: the same whatever keeps the state."""

from __future__ import annotations

from datetime import datetime

from drivetrain.model.prediction import Completed, Failure, PredictionId, Status
from drivetrain.platform.delivery import Delivery, DeliveryId
from drivetrain.platform.queue import WebhookOrder

#: A sentence for the history of a prediction that was not started in time.
NOT_STARTED_IN_TIME = "It was not started before its time was up."


def canceled(at: datetime) -> Completed:
    """The end of a prediction that was to be canceled, or whose time to start is up."""
    return Completed(status=Status.CANCELED, at=at)


def given_up(at: datetime, attempts: int, note: str) -> Completed:
    """The end of a prediction that has used up its attempts."""
    times = "once" if attempts == 1 else f"{attempts} times"
    return Completed(status=Status.FAILED, at=at, failure=Failure(message=f"It was begun {times} and never ended. {note}"))


def taken_back(attempt: int, runner: str | None, *, has_lapsed: bool) -> str:
    """A sentence for the history of a prediction whose claim was taken back."""
    if has_lapsed:
        return f"Attempt {attempt} was given up: runner '{runner}' was not heard of any more."
    return f"Attempt {attempt} was cut off: the platform stopped while runner '{runner}' ran it."


def wants_end(webhook: WebhookOrder | None) -> bool:
    """Whether a prediction's end is to be delivered."""
    return webhook is not None and "completed" in webhook.events


def delivery_of_end(prediction_id: PredictionId, webhook: WebhookOrder, at: datetime) -> Delivery:
    """The delivery that tells of a prediction's end. Its id follows from the prediction's, since there is one end."""
    return Delivery(
        id=DeliveryId(f"{prediction_id}.completed"),
        prediction=prediction_id,
        url=webhook.url,
        event="completed",
        gateway=webhook.gateway,
        created_at=at,
        next_at=at,
    )
