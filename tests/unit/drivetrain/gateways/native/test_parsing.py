"""What clients ask for is read strictly, and what is wrong is named."""

from datetime import datetime, timedelta, timezone

import pytest
from starlette.requests import Request

from drivetrain.gateways.http.refusal import Refused
from drivetrain.gateways.native.parsing import (
    LONGEST_WAIT,
    NewPrediction,
    convert,
    flag,
    moment,
    number,
    read_cursor,
    resources_of,
    scaling_of,
    wait_of,
    write_cursor,
)
from drivetrain.platform.app import Resources, Scaler


def request(query):
    return Request({"type": "http", "method": "GET", "path": "/", "query_string": query.encode(), "headers": []})


@pytest.mark.parametrize(
    ("query", "wait"),
    [
        ("", None),
        ("wait", LONGEST_WAIT),
        ("wait=2.5", timedelta(seconds=2.5)),
        ("wait=0", timedelta(0)),
        ("wait=1e6", LONGEST_WAIT),
    ],
)
def test_a_wait_is_a_number_of_seconds(query, wait):
    assert wait_of(request(query)) == wait


@pytest.mark.parametrize("query", ["wait=long", "wait=-1", "wait=nan", "wait=inf"])
def test_what_is_no_wait_is_refused(query):
    with pytest.raises(Refused, match="'wait' in the query"):
        wait_of(request(query))


def test_a_switch_is_on_when_it_is_named():
    assert [flag(request(query), "now") for query in ("", "now", "now=true", "now=1", "now=false", "now=0")] == [
        False,
        True,
        True,
        True,
        False,
        False,
    ]
    with pytest.raises(Refused, match="'now'"):
        flag(request("now=perhaps"), "now")


@pytest.mark.parametrize("text", ["0", "-1", "x", "1001", "1.5", "\u0661", "9" * 5000, "0" * 11 + "1001", "0" * 11 + "1" * 5000])
def test_a_number_out_of_bounds_is_refused(text):
    with pytest.raises(Refused, match="'limit'"):
        number(request(f"limit={text}"), "limit", default=5, most=1000)


def test_a_time_says_its_zone():
    assert moment(request("at=2026-01-31T12:00:00Z"), "at") == datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
    for text in ("yesterday", "2026-01-31T12:00:00", "2026-13-01T00:00:00Z"):
        with pytest.raises(Refused, match="'at'"):
            moment(request(f"at={text}"), "at")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"inputs": {}}, "inputs"),
        ({"input": []}, "input"),
        ({"context": {"a": 1}}, "context"),
        ({"webhook_events_filter": ["done"]}, "webhook_events_filter"),
        ({"priority": "high"}, "priority"),
    ],
)
def test_a_body_that_does_not_fit_is_refused_by_the_place(body, place):
    with pytest.raises(Refused) as refused:
        convert(body, NewPrediction, "the body")
    assert refused.value.status == 422
    assert place in refused.value.message


def test_settings_are_read_by_their_types_and_durations_are_seconds():
    read = scaling_of({"min_runners": 2, "keep_alive": 1.5, "start_timeout": None, "scaler": "queue_delay"})
    assert read == {"min_runners": 2, "keep_alive": timedelta(seconds=1.5), "start_timeout": None, "scaler": Scaler.QUEUE_DELAY}


def test_settings_in_a_query_are_texts():
    read = scaling_of({"min_runners": "2", "keep_alive": "90", "start_timeout": "none", "concurrency": "none"}, from_text=True)
    assert read == {"min_runners": 2, "keep_alive": timedelta(seconds=90), "start_timeout": None, "concurrency": None}


@pytest.mark.parametrize(
    "change", [{"min_runners": "two"}, {"min_runners": "2"}, {"keep_alive": -1}, {"scaler": "best"}, {"keep_alive": None}]
)
def test_a_setting_of_another_type_is_refused(change):
    with pytest.raises(Refused, match=f"'{next(iter(change))}'"):
        scaling_of(change)


def test_resources_that_are_not_given_stay():
    assert resources_of({"memory": 5}, Resources(gpus=2)) == Resources(gpus=2, memory=5)
    for wrong in ({"gpus": -1}, {"tpus": 1}, {"gpus": 1.5}, {"gpus": 10**400}, {"memory": 2**60}, {"cpus": float("nan")}):
        with pytest.raises(Refused):
            resources_of(wrong, Resources())


def test_a_cursor_leads_back_to_where_a_page_ended():
    place = (datetime(2026, 1, 1, tzinfo=timezone.utc), "abc")
    assert read_cursor(write_cursor(*place)) == place
    for wrong in ("x", "é", "AAAA", write_cursor(datetime(2026, 1, 1), "naive")):  # noqa: DTZ001 (that is the point)
        with pytest.raises(Refused, match="cursor"):
            read_cursor(wrong)
