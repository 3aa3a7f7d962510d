"""The life cycle: what the table allows, and what the folds give."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivetrain.model.errors import InternalError
from drivetrain.model.prediction import (
    TERMINAL,
    TRANSITIONS,
    Completed,
    Failure,
    Log,
    Metric,
    MetricMode,
    Output,
    OutputValue,
    Prediction,
    PredictionId,
    Source,
    Started,
    Status,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def prediction(*events):
    made = Prediction(id=PredictionId("p"), input={}, created_at=NOON)
    for event in events:
        made.apply(event)
    return made


def output(value):
    return Output(output=OutputValue(value=value))


STARTED = Started(at=NOON)
SUCCEEDED = Completed(status=Status.SUCCEEDED, at=NOON + timedelta(seconds=2))


def test_a_prediction_goes_from_starting_through_processing_to_its_end():
    statuses = []
    made = prediction()
    for event in (STARTED, output(1), SUCCEEDED):
        statuses.append(made.status)
        made.apply(event)
    assert [*statuses, made.status] == [Status.STARTING, Status.PROCESSING, Status.PROCESSING, Status.SUCCEEDED]


def test_every_status_has_its_row_and_terminal_rows_are_empty():
    assert set(TRANSITIONS) == set(Status)
    assert {status for status, row in TRANSITIONS.items() if not row} == TERMINAL


@pytest.mark.parametrize("late", [STARTED, output(1), Log(source=Source.STDOUT, data="x"), Metric(name="a", value=1), SUCCEEDED])
def test_nothing_follows_the_end(late):
    ended = prediction(STARTED, SUCCEEDED)
    with pytest.raises(InternalError):
        ended.apply(late)
    assert ended.event_count == 2


def test_a_prediction_cannot_succeed_before_it_started():
    with pytest.raises(InternalError):
        prediction(SUCCEEDED)


def test_a_failure_needs_its_reason_and_a_success_has_none():
    with pytest.raises(InternalError):
        prediction(STARTED, Completed(status=Status.FAILED, at=NOON))
    with pytest.raises(InternalError):
        prediction(STARTED, Completed(status=Status.SUCCEEDED, at=NOON, failure=Failure(message="no")))


def test_a_prediction_can_be_canceled_before_it_started():
    assert prediction(Completed(status=Status.CANCELED, at=NOON)).status is Status.CANCELED


def test_logs_join_in_order_and_keep_carriage_returns():
    logs = [
        Log(source=Source.STDERR, data="10%\r"),
        Log(source=Source.STDERR, data="20%\r"),
        Log(source=Source.STDOUT, data="done\n"),
    ]
    made = prediction(STARTED, *logs)
    assert made.logs == made.logs == "10%\r20%\rdone\n"


def test_the_time_of_a_prediction_runs_from_its_start():
    assert prediction(STARTED, SUCCEEDED).predict_seconds == 2
    assert prediction(STARTED).predict_seconds is None


def test_dots_in_a_metrics_name_are_levels():
    made = prediction(STARTED, Metric(name="time.load", value=1), Metric(name="time.run", value=2))
    assert made.metrics == {"time": {"load": 1, "run": 2}}


def test_metrics_accumulate_by_mode():
    made = prediction(
        STARTED,
        Metric(name="tokens", value=2, mode=MetricMode.INCREMENT),
        Metric(name="tokens", value=3, mode=MetricMode.INCREMENT),
        Metric(name="loss", value=0.5, mode=MetricMode.APPEND),
        Metric(name="loss", value=0.25, mode=MetricMode.APPEND),
        Metric(name="gone", value=1),
        Metric(name="gone", value=None),
    )
    assert made.metrics == {"tokens": 5, "loss": [0.5, 0.25]}


@pytest.mark.parametrize(
    "before",
    [
        Metric(name="tokens.prompt", value=3),
        Metric(name="tokens", value=1, mode=MetricMode.APPEND),
        Metric(name="tokens", value="many"),
        Metric(name="tokens", value=True),
    ],
)
def test_what_is_no_number_cannot_be_counted_up_and_stays(before):
    made = prediction(STARTED, before, Metric(name="tokens", value=2, mode=MetricMode.INCREMENT))
    assert made.metrics == prediction(STARTED, before).metrics


@given(st.lists(st.sampled_from([STARTED, output(0), Log(source=Source.STDOUT, data="."), SUCCEEDED]), max_size=8))
def test_no_sequence_of_events_breaks_the_record(events):
    made = prediction()
    for event in events:
        try:
            made.apply(event)
        except InternalError:
            continue
    assert made.event_count <= len(events)
    assert made.status.is_terminal == (made.completed_at is not None)
