"""How a client wants its answer, and what its request must look like."""

from datetime import timedelta

import pytest

from drivetrain.serving.http.exchange import Exchange, HttpError
from drivetrain.serving.http.request import Delivery, parse_delivery, parse_request
from drivetrain.serving.webhooks import ALL_EVENTS, WebhookEvent


def exchange(*headers):
    values = {}
    for name, value in headers:
        values.setdefault(name.encode(), []).append(value.encode())
    return Exchange(None, "POST", "/predictions", {name: b", ".join(each) for name, each in values.items()})


@pytest.mark.parametrize(
    ("headers", "delivery"),
    [
        ([], Delivery(is_stream=False, wait=None)),
        ([("prefer", "respond-async")], Delivery(is_stream=False, wait=timedelta(0))),
        ([("prefer", "Respond-Async, wait=5")], Delivery(is_stream=False, wait=timedelta(seconds=5))),
        ([("prefer", "handling=lenient"), ("prefer", "wait = 7;x")], Delivery(is_stream=False, wait=timedelta(seconds=7))),
        ([("prefer", "wait")], Delivery(is_stream=False, wait=None)),
        ([("prefer", "wait=-1, wait=many, wait=99999999")], Delivery(is_stream=False, wait=None)),
        ([("accept", "text/html, text/event-stream;q=0.5")], Delivery(is_stream=True, wait=None)),
    ],
)
def test_prefer_and_accept_are_lists(headers, delivery):
    assert parse_delivery(exchange(*headers)) == delivery


def test_an_empty_body_is_a_request_without_inputs():
    parsed = parse_request(exchange(), None, "")
    assert (parsed.request.input, parsed.webhook, bool(parsed.request.id)) == ({}, None, True)


def test_the_trace_of_a_request_goes_on_in_its_webhooks():
    parsed = parse_request(exchange(("traceparent", "00-1-2-01")), {"webhook": "https://example.com/"}, "")
    assert (parsed.webhook.headers, parsed.webhook.events) == ({"traceparent": "00-1-2-01"}, ALL_EVENTS)


def test_the_events_of_a_webhook_can_be_chosen():
    body = {"webhook": "https://example.com/", "webhook_events_filter": ["start", "completed"]}
    assert parse_request(exchange(), body, "").webhook.events == {WebhookEvent.START, WebhookEvent.COMPLETED}


@pytest.mark.parametrize(
    ("body", "location"),
    [
        ([], ["body"]),
        ({"id": 1}, ["body", "id"]),
        ({"id": "x" * 256}, ["body", "id"]),
        ({"id": "other"}, ["body", "id"]),
        ({"input": "text"}, ["body", "input"]),
        ({"context": {"a": 1}}, ["body", "context", "a"]),
        ({"created_at": "yesterday"}, ["body", "created_at"]),
        ({"webhook": "ftp://example.com"}, ["body", "webhook"]),
        ({"webhook_events_filter": ["done"]}, ["body", "webhook_events_filter"]),
        ({"webhook_events_filter": "start"}, ["body", "webhook_events_filter"]),
    ],
)
def test_what_is_wrong_is_told_with_its_place(body, location):
    with pytest.raises(HttpError) as caught:
        parse_request(exchange(), body, "mine")
    assert caught.value.status == 422
    assert caught.value.body["detail"][0]["loc"] == location
