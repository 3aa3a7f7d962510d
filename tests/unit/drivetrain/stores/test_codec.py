"""What is packed comes back."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivetrain.model.errors import InternalError
from drivetrain.model.prediction import (
    TERMINAL,
    Completed,
    Failure,
    Log,
    Metric,
    MetricMode,
    Output,
    OutputFile,
    OutputValue,
    Source,
    Started,
)
from drivetrain.stores.codec import EARLIEST, LATEST, pack, pack_events, to_microseconds, to_moment, unpack, unpack_events

TEXTS = st.text() | st.text(st.characters(codec=None))  # the second knows lone surrogates
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)
MOMENTS = st.datetimes(timezones=st.just(timezone.utc))
OUTPUT_FILES = st.builds(
    OutputFile, pointer=st.lists(st.integers(0, 9) | st.text(), max_size=3).map(tuple), path=st.just(Path("/tmp/x")), name=st.text()
)
EVENTS = st.one_of(
    st.builds(Started, at=MOMENTS),
    st.builds(Log, source=st.sampled_from(Source), data=TEXTS),
    st.builds(Output, output=st.builds(OutputValue, value=VALUES, files=st.lists(OUTPUT_FILES, max_size=2).map(tuple))),
    st.builds(Metric, name=st.text(), value=VALUES, mode=st.sampled_from(MetricMode)),
    st.builds(
        Completed,
        status=st.sampled_from(sorted(TERMINAL)),
        at=MOMENTS,
        failure=st.none() | st.builds(Failure, message=TEXTS, traceback=st.none() | TEXTS, worker_lost=st.booleans()),
    ),
)


@given(VALUES)
def test_json_values_come_back(value):
    assert unpack(pack(value)) == value


@given(st.lists(EVENTS, max_size=5).map(tuple))
def test_events_come_back(events):
    assert unpack_events(pack_events(events)) == events


def test_long_lists_of_events_take_less_room():
    events = tuple(Log(source=Source.STDOUT, data=f"step {number} of 2000\n") for number in range(2000))
    packed = pack_events(events)
    assert len(packed) < 10_000
    assert unpack_events(packed) == events


def test_what_cannot_be_deflated_is_left_as_it_is():
    events = (Output(output=OutputValue(value="".join(chr(33 + (number * 7919 % 9973) % 90) for number in range(9000)))),)
    assert unpack_events(pack_events(events)) == events


@given(MOMENTS)
def test_moments_come_back(moment):
    assert to_moment(to_microseconds(moment)) == moment
    assert EARLIEST <= to_microseconds(moment) <= LATEST


def test_moments_of_other_zones_are_the_same_moments():
    moment = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=5)))
    assert to_moment(to_microseconds(moment)) == moment


@pytest.mark.parametrize("data", [b"", b"?rest"])
def test_what_this_version_does_not_write_is_refused(data):
    with pytest.raises(InternalError):
        unpack(data)


def test_an_event_that_this_version_does_not_know_is_refused():
    with pytest.raises(InternalError, match="paused"):
        unpack_events(pack([["paused", 1]]))
