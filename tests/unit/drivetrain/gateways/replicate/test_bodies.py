"""Bodies of requests, and what is said of those that are not as they must be."""

import json

import pytest
from starlette.requests import Request

from drivetrain.gateways.replicate.bodies import DeploymentBody, InvalidBody, PredictionBody, VersionPredictionBody, read_body
from drivetrain.gateways.replicate.problem import InvalidVersion, render_problem


@pytest.fixture
def read():
    """Read a body as the given kind."""

    async def receive_of(body):
        return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

    def read(body, kind=VersionPredictionBody):
        import asyncio

        request = Request({"type": "http", "method": "POST", "headers": []}, lambda: receive_of(body))
        return asyncio.run(read_body(request, kind))

    return read


def test_a_prediction_body_is_read(read):
    body = read({"version": "v", "input": {"a": 1}, "stream": True, "webhook": None})
    assert (body.version, body.input, body.order()) == ("v", {"a": 1}, None)


@pytest.mark.parametrize(
    ("body", "field", "description"),
    [
        ({"input": {}}, "version", "is required"),
        ({"version": "v"}, "input", "is required"),
        ({"version": "v", "input": {}, "inputs": {}}, "inputs", "is not a member of this request"),
        ({"version": 1, "input": {}}, "version", "Expected 'str', got 'int'"),
        ({"version": "v", "input": []}, "input", "Expected 'object', got 'array'"),
        ({"version": "v", "input": {}, "webhook_events_filter": ["end"]}, "webhook_events_filter[0]", "Invalid enum value 'end'"),
    ],
)
def test_what_is_wrong_is_named(read, body, field, description):
    with pytest.raises(InvalidBody) as caught:
        read(body)
    assert (caught.value.field, caught.value.description) == (field, description)


@pytest.mark.parametrize(
    "url", ["nonsense", "ftp://host/x", "https://", "http://[", "https://host/a b", "https://host/\n", "//host/x"]
)
def test_a_webhook_must_be_a_web_address(read, url):
    body = read({"input": {}, "webhook": url}, PredictionBody)
    with pytest.raises(InvalidBody, match="is not an http or https URL"):
        body.order()


@pytest.mark.parametrize(
    ("members", "events"),
    [
        ({"webhook": "https://a/?id=1"}, {"output", "completed"}),
        ({"webhook": "https://a/?id=1", "webhook_events_filter": ["start", "logs"]}, {"start", "logs"}),
        ({"webhook_completed": "https://a/?id=1"}, {"completed"}),
        ({"webhook": "https://a/?id=1", "webhook_completed": "https://b"}, {"output", "completed"}),
    ],
)
def test_a_webhook_says_of_what_it_wants_to_hear(read, members, events):
    order = read({"input": {}, **members}, PredictionBody).order()
    assert (order.url, order.events, order.gateway) == ("https://a/?id=1", events, "replicate")


def test_a_webhook_that_wants_to_hear_of_nothing_is_none(read):
    assert read({"input": {}, "webhook": "https://a", "webhook_events_filter": []}, PredictionBody).order() is None


def test_numbers_are_not_texts(read):
    body = {"name": "x", "model": "a/b", "version": "v", "hardware": "cpu", "min_instances": "1", "max_instances": 2}
    with pytest.raises(InvalidBody, match="min_instances"):
        read(body, DeploymentBody)


def test_errors_are_problems():
    response = render_problem(InvalidVersion("nope"))
    assert response.headers["content-type"] == "application/problem+json"
    body = json.loads(response.body)
    assert body["title"] == "Invalid version or not permitted"
    assert body["status"] == response.status_code == 422
    assert "'nope'" in body["detail"]
