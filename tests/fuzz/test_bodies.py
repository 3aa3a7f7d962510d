"""Bodies that no client means to send: each is refused with a reason or runs, and the server is none the worse."""

import base64
import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

generously = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


def post(server, content, content_type="application/json", path="/predictions", **headers):
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    return server.client.post(path, content=content, headers={"Content-Type": content_type, **headers})


def assert_refused_or_run(response):
    assert response.status_code in (200, 202, 400, 413, 415, 422), response.text
    body = response.json()
    assert body["detail"] if response.status_code >= 400 else body["status"] in ("succeeded", "failed")


@generously
@given(st.binary(max_size=300))
@example(b'{"input":{"text":"\xff"}}')
@example(b'\xef\xbb\xbf{"input":{}}')
@example('{"input":{}}'.encode("utf-16"))
@example(b"{} {}")
@example(b'{"input":{"text":"\\ud800"}}')
@example(b'{"input":{"text":"\\u0000"}}')
@example(b'{"id":"x","id":"y"}')
@example(b'{"input":{"anything":1},"input":{"anything":NaN}}')
def test_bytes(server, content):
    assert_refused_or_run(post(server, content))


@generously
@given(st.text(max_size=60), st.sampled_from(['{"input":{}}', "--x--", ""]))
@example("multipart/form-data; boundary=x", '--x\r\nContent-Disposition: form-data; name="text"\r\n\r\nhi\r\n--x--\r\n')
@example("multipart/form-data", "--x--")
@example("multipart/form-data; boundary=" + "x" * 5000, "--x--")
@example("application/json; charset=utf-16", "{}")
@example("application/json, text/plain", "{}")
@example(";", "{}")
def test_content_types(server, content_type, content):
    name = content_type.encode("ascii", "ignore").decode()
    header = "".join(character for character in name if character.isprintable()).strip()
    assert_refused_or_run(post(server, content, header))


@generously
@given(st.binary(max_size=200), st.text(alphabet='ab"\\;=/.\0', max_size=20), st.text(max_size=20))
def test_forms(server, content, name, file_name):
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="{file_name}"\r\n\r\n'
    body = head.encode("utf-8", "replace") + content + b"\r\n--b--\r\n"
    assert_refused_or_run(post(server, body, "multipart/form-data; boundary=b"))


@pytest.mark.parametrize("depth", [100, 500, 900, 990, 2000, 10_000, 1_000_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")], ids=["list", "object"])
def test_depth(server, depth, opening, closing):
    value = opening * depth + "1" + closing * depth
    assert_refused_or_run(post(server, f'{{"input":{{"anything":{value}}}}}'))


def test_depths_that_can_be_read_and_may_be_too_much_for_what_follows(server):
    for depth in range(900, 1000):
        assert_refused_or_run(post(server, f'{{"input":{{"anything":{"[" * depth}{"]" * depth}}}}}'))
    listed = server.client.get("/predictions")
    assert (listed.status_code, server.predict(text="x")["status"]) == (200, "succeeded")


@generously
@given(st.sampled_from(["text", "count", "bounded", "ratio", "flag", "either", "maybe", "anything", "table"]), st.data())
@example("text", "9" * 4300)
@example("count", "9" * 4300)
@example("count", "9" * 5000)
@example("ratio", "1e400")
@example("ratio", "-" + "9" * 1000)
@example("flag", "1e0")
@example("either", "0.1e1")
@example("anything", "-0.0")
@example("anything", "Infinity")
def test_numbers(server, name, data):
    number = data if isinstance(data, str) else data.draw(st.from_regex(r"-?[0-9]{1,40}(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,4})?"))
    assert_refused_or_run(post(server, f'{{"input":{{"{name}":{number}}}}}'))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@generously
@given(json_values)
def test_any_json_value_comes_back_as_it_was(server, value):
    content = json.dumps({"input": {"anything": value}})
    if "\\ud8" in content or "\\udc" in content:
        assert_refused_or_run(post(server, content))
        return
    assert post(server, content).json()["output"]["anything"] == value


FIELDS = ["id", "input", "context", "webhook", "webhook_events_filter", "output_file_prefix", "created_at"]


@generously
@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), json_values, max_size=4))
@example({"created_at": "0001-01-01"})
@example({"created_at": "9999-12-31T23:59:59.999999-23:59"})
@example({"webhook": "http://[::1"})
@example({"webhook": "http://" + "a" * 70 + ".example/"})
@example({"webhook": "http://a..b/\r\nX: y"})
@example({"output_file_prefix": "http://%00/"})
@example({"webhook_events_filter": [[]]})
@example({"context": {"": ""}})
def test_fields(server, fields):
    assert_refused_or_run(post(server, json.dumps(fields)))


@generously
@given(st.text(min_size=1, max_size=300))
@example("a/b")
@example("x/cancel")
@example("..")
@example("a\r\nX-Injected: yes")
@example("ü \u2028 🚂")
@example("a" * 10_000)
@example("%2F")
def test_an_id_is_refused_or_leads_to_its_prediction_by_every_way(server, name):
    path = "/predictions/" + "".join(f"%{byte:02X}" for byte in name.encode("utf-8", "replace"))
    answer = server.client.put(path, json={"input": {"text": "x"}})
    assert "x-injected" not in answer.headers
    if answer.status_code == 422:
        assert not name.isprintable() or len(name) > 255
        return
    assert (answer.status_code, answer.json()["id"]) == (200, name)
    assert server.client.get(path).json() == answer.json()
    assert server.client.post("/predictions", json={"id": name}).json() == answer.json()
    assert server.client.post(f"{path}/cancel").status_code == 404


HOSTS = [
    "[::1",
    "a" * 70 + ".example",
    "a..b",
    "xn--",
    "%",
    ".",
    "\uff11\uff12\uff17.0.0.1",
    "a:99999",
    "a@b:c",
    "0x7f.1",
    "\0",
    "🚂.example",
]


@generously
@given(st.sampled_from(HOSTS) | st.text(alphabet=".%[]:@-_ü", max_size=20))
def test_a_url_that_is_none_fails_its_prediction(server, host):
    response = post(server, json.dumps({"input": {"image": f"http://{host}/x"}}))
    assert_refused_or_run(response)
    assert response.status_code != 200 or response.json()["status"] == "failed"


DATA_URLS = {
    "data:": None,
    "data:,": "",
    "data:no comma": None,
    "data:;base64,@@@@": None,
    "data:;base64,aGk": "hi",
    "data:;base64,aGk%3D": "hi",
    "DATA:text/plain;BASE64,aGk=": "hi",
    "data:text/plain;charset=utf-8;base64,aGk=": "hi",
    "data:a%20b,%68%69": "hi",
    "data:,%zz%": "%zz%",
    "data:" + "x/" * 50_000 + ",hi": "hi",
    "data:image/../../../etc/passwd,hi": "hi",
    "data:image/\0,hi": "hi",
    "data:;base64," + "A" * 4_000_000: "\0" * 3_000_000,
}


@pytest.mark.parametrize("url", DATA_URLS, ids=lambda url: repr(url[:40]))
@pytest.mark.parametrize("name", ["image", "document"])
def test_data_urls(server, url, name):
    body = server.predict(**{name: url})
    if DATA_URLS[url] is None:
        assert body["status"] == "failed"
        assert "data URL" in body["error"]
    else:
        output = body["output"]["files"] if name == "image" else [body["output"]["document"]]
        assert output == [DATA_URLS[url]]


@generously
@given(st.text(max_size=30), st.binary(max_size=30))
def test_data_urls_with_any_type(server, media_type, content):
    url = f"data:{media_type};base64,{base64.b64encode(content).decode()}"
    response = post(server, json.dumps({"input": {"image": url}}))
    assert_refused_or_run(response)
    if response.status_code == 200 and "," not in media_type:
        assert response.json()["output"]["files"] == [content.decode("utf-8", "replace")]


def test_long_lists(server):
    numbers = list(range(10_000))
    assert post(server, json.dumps({"input": {"numbers": numbers, "anything": numbers}})).json()["output"]["anything"] == numbers
    refused = post(server, json.dumps({"input": {"numbers": ["x"] * 10_000}}))
    assert (refused.status_code, len(refused.json()["detail"])) == (422, 10_000)


def test_many_files(server):
    body = server.predict(images=[f"data:,{number}" for number in range(2000)])
    assert body["output"]["files"] == [str(number) for number in range(2000)]


def test_a_body_beyond_the_limit(server):
    response = post(server, b'{"input":{"text":"' + b"x" * (101 * 1024 * 1024) + b'"}}')
    assert response.status_code == 413


def test_a_text_as_large_as_a_body_may_be(server):
    text = "x" * 20_000_000
    assert server.predict(text=text)["output"]["text"] == text


@generously
@given(st.sampled_from(["Prefer", "Accept", "traceparent", "tracestate"]), st.text(max_size=40))
@example("Prefer", "wait=999999999999999999")
@example("Prefer", "wait=0.5, respond-async;x=,,;=")
@example("traceparent", "ü" * 20)
def test_headers(server, name, value):
    header = value.encode("utf-8", "replace").translate(None, bytes(range(32)) + b"\x7f").strip()
    response = server.client.post("/predictions", json={}, headers={name.encode(): header})
    assert response.status_code in (200, 202)
