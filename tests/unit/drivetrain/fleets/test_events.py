"""The events of a prediction, read back from what a model server streams."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivetrain.fleets import events
from drivetrain.fleets.events import EventDecoder, EventTooLarge
from drivetrain.model.prediction import Completed, Log, Metric, MetricMode, Output, OutputValue, Source, Started, Status
from drivetrain.platform.fleet import RunnerLost

AT = "2026-11-21T12:00:00+00:00"


def block(name, /, **data):
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def ending(**changes):
    told = {"status": "succeeded", "error": None, "traceback": None, "worker_lost": False, "completed_at": AT}
    return block("completed", id="p", started_at=AT, **{**told, **changes})


STREAM = b"".join(
    [
        block("start", id="p", status="processing", started_at=AT),
        b": keep-alive\n\n",
        block("log", source="stderr", data="a\n\nb"),
        block("output", chunk={"a": ["\n\n"]}, index=0),
        block("metric", name="n", value=2, mode="increment"),
        ending(),
    ]
)


def check(found):
    started, log, output, metric, completed = found
    assert isinstance(started, Started)
    assert started.at.isoformat() == AT
    assert log == Log(source=Source.STDERR, data="a\n\nb")
    assert output == Output(output=OutputValue(value={"a": ["\n\n"]}))
    assert metric == Metric(name="n", value=2, mode=MetricMode.INCREMENT)
    assert completed == Completed(status=Status.SUCCEEDED, at=started.at)


def test_every_kind_of_event_is_read():
    check(list(EventDecoder(hidden="http://127.0.0.1/files/token").feed(STREAM)))


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_it_does_not_matter_how_the_stream_is_cut(places):
    cuts = sorted({0, *places, len(STREAM)})
    decoder = EventDecoder(hidden="http://127.0.0.1/files/token")
    check([event for begin, end in itertools.pairwise(cuts) for event in decoder.feed(STREAM[begin:end])])


def test_a_failure_keeps_its_traceback():
    (completed,) = EventDecoder(hidden="http://127.0.0.1/files/token").feed(
        ending(status="failed", error="no", traceback="Traceback")
    )
    assert (completed.failure.message, completed.failure.traceback) == ("no", "Traceback")


def test_a_lost_worker_is_a_lost_runner():
    with pytest.raises(RunnerLost, match="killed by SIGKILL"):
        list(
            EventDecoder(hidden="http://127.0.0.1/files/token").feed(
                ending(status="failed", error="The worker was killed by SIGKILL", worker_lost=True)
            )
        )


def test_missed_events_lose_the_prediction():
    with pytest.raises(RunnerLost, match="lost"):
        list(
            EventDecoder(hidden="http://127.0.0.1/files/token").feed(
                block("error", error="some events are no longer kept", skipped=3)
            )
        )


def test_an_event_has_a_largest_size(monkeypatch):
    monkeypatch.setattr(events, "LARGEST_EVENT_BYTES", 100)
    decoder = EventDecoder(hidden="http://127.0.0.1/files/token")
    assert list(decoder.feed(b"event: output\ndata: " + b"x" * 50)) == []
    with pytest.raises(EventTooLarge):
        list(decoder.feed(b"x" * 50))


def test_no_failure_names_the_url_that_is_a_key():
    told = ending(status="failed", error="cannot upload 'a' to 'http://127.0.0.1/files/token/uploads/p': it answered 507")
    (completed,) = EventDecoder(hidden="http://127.0.0.1/files/token/").feed(told)
    assert completed.failure.message == "cannot upload 'a' to 'files of the platform/uploads/p': it answered 507"
