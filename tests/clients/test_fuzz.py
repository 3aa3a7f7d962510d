"""Whatever is sent, nothing but an answer comes back: never a bug of ours, and always a problem that says what is wrong."""

from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

ROUTES = [
    ("POST", "/predictions"),
    ("POST", "/models/acme/hello/predictions"),
    ("POST", "/models"),
    ("PATCH", "/models/acme/hello"),
    ("POST", "/deployments"),
    ("PATCH", "/deployments/acme/none"),
    ("POST", "/models/acme/hello/versions/{version}/trainings"),
    ("QUERY", "/models"),
]
#: Members that routes know, so that generated bodies get past the first check now and then.
NAMES = [
    "input", "version", "webhook", "webhook_events_filter", "owner", "name", "visibility", "hardware", "model", "min_instances",
    "max_instances", "destination", "description", "text",
]  # fmt: skip
WORDS = [
    "acme",
    "hello",
    "acme/hello",
    "cpu",
    "public",
    "private",
    "completed",
    "https://127.0.0.1:9/hook",
    "",
    "x" * 300,
    "\0",
    "é\u2028",
]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
bodies = st.dictionaries(st.sampled_from(NAMES), values, max_size=6) | values
parts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).map(lambda text: quote(text, safe=""))
few = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def assert_answered(response):
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json", response.text
        assert response.json()["status"] == response.status_code


@pytest.mark.parametrize(("method", "path"), ROUTES)
@given(body=bodies)
@few
def test_any_body_is_answered(platform, method, path, body):
    url = f"/v1{path.format(version=platform.version('hello'))}" if "{" in path else f"/v1{path}"
    assert_answered(platform.http.request(method, url, json=body))


@pytest.mark.parametrize(
    "template", ["predictions/{}", "models/{}/{}", "models/acme/hello/versions/{}", "files/{}", "collections/{}", "{}"]
)
@given(names=st.tuples(parts, parts))
@few
def test_any_path_is_answered(platform, template, names):
    assert_answered(platform.http.get(f"/v1/{template.format(*names)}"))


@pytest.mark.parametrize("path", ["/predictions", "/models", "/search", "/trainings", "/deployments", "/files", "/collections"])
@given(
    query=st.dictionaries(
        st.sampled_from(["cursor", "created_after", "created_before", "source", "query", "limit", "sort_by", "sort_direction"]),
        st.text(max_size=20)
        | st.sampled_from(["2026-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "1", "asc"]),
        max_size=3,
    )
)
@few
def test_any_query_is_answered(platform, path, query):
    assert_answered(platform.http.get(f"/v1{path}", params=query))


@given(
    headers=st.dictionaries(
        st.sampled_from(["Prefer", "Cancel-After", "Idempotency-Key"]),
        st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20),
    )
)
@few
def test_any_header_is_answered(platform, headers):
    assert_answered(platform.http.post("/v1/models/acme/hello/predictions", json={"input": {"text": "you"}}, headers=headers))
