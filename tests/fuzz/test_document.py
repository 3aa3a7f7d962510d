"""The served OpenAPI document, taken at its word by a generator of requests."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

pytestmark = pytest.mark.slow

#: Nobody is there, and nobody may be called.
schemathesis.openapi.format("uri", st.just("http://127.0.0.1:9/file"))

CREATING = [("POST", "/predictions"), ("PUT", "/predictions/{prediction_id}")]
OTHERS = [
    ("GET", "/"),
    ("GET", "/health-check"),
    ("GET", "/predictions/{prediction_id}"),
    ("POST", "/predictions/{prediction_id}/cancel"),
]

generously = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def document(server):
    return schemathesis.openapi.from_url(f"{server.base}/openapi.json")


def test_every_operation_is_tried(document):
    known = {(operation.ok().method.upper(), operation.ok().path) for operation in document.get_all_operations()}
    assert known - {("POST", "/shutdown")} == {*CREATING, *OTHERS}


@pytest.mark.parametrize("operation", CREATING, ids=" ".join)
def test_what_the_document_allows_is_run(document, operation):
    def check(response):
        assert response.status_code in (200, 202) or is_about_text_with_a_meaning(response), response.text

    send_many(document, operation, GenerationMode.POSITIVE, check)


@pytest.mark.parametrize("operation", CREATING, ids=" ".join)
def test_what_the_document_does_not_allow_is_refused_or_harmless(document, operation):
    send_many(document, operation, GenerationMode.NEGATIVE, lambda response: None)


@pytest.mark.parametrize("operation", OTHERS, ids=" ".join)
def test_every_answer_is_one_that_the_document_knows(document, operation):
    def check(response):
        assert response.status_code in (200, 404)

    send_many(document, operation, GenerationMode.POSITIVE, check)


def send_many(document, operation, mode, check_response):
    method, path = operation

    @generously
    @given(case=document[path][method].as_strategy(generation_mode=mode))
    def check(case):
        response = case.call(timeout=30)
        checks = [not_a_server_error, content_type_conformance]
        if b'"secret":' not in response.content:  # write-only by Cog's document, whose servers echo them masked, as we do
            checks.append(response_schema_conformance)
        case.validate_response(response, checks=checks)
        assert response.headers["content-type"] == ["application/json"]
        check_response(response)

    check()


def is_about_text_with_a_meaning(response):
    """By Cog's document these are any text; ids must be printable and not endless, and a prefix a URL."""
    places = [problem["loc"] for problem in response.json()["detail"]] if response.status_code == 422 else []
    return places in ([["body", "id"]], [["body", "output_file_prefix"]])
