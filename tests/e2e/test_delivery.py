"""How results reach clients: waiting, streams, webhooks, uploads."""

import contextlib
import json
import re
import sys
from pathlib import Path

import pytest

STREAM = """
    import sys
    from typing import Iterator
    from cog import BasePredictor, current_scope

    class Predictor(BasePredictor):
        def predict(self, text: str, fail: bool = False) -> Iterator[str]:
            for word in text.split():
                print("saying", word)
                yield word
            current_scope().record_metric("words", 2)
            if fail:
                raise ValueError("boom")
"""

GATED = """
    import os
    from typing import AsyncIterator, Iterator
    from cog import BasePredictor

    class Predictor(BasePredictor):
        def predict(self, gate: str) -> Iterator[str]:
            yield "before"
            with open(gate) as file:  # a named pipe: waits until somebody opens the other end
                yield file.read()
"""

ASYNC_GATED = """
    import asyncio
    from typing import AsyncIterator
    from cog import BasePredictor

    class Predictor(BasePredictor):
        async def predict(self, gate: str) -> AsyncIterator[str]:
            yield "before"
            yield await asyncio.get_running_loop().run_in_executor(None, lambda: open(gate).read())
"""


def events(response):
    """Server-sent events as they come: name and data."""
    name = None
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])


@contextlib.contextmanager
def streaming(server, method="POST", path="/predictions", **inputs):
    content = {"json": {"input": inputs}} if method != "GET" else {}
    with server.client.stream(method, path, headers={"Accept": "text/event-stream"}, **content) as response:
        assert response.status_code == 200, response.read()
        yield response


def test_a_stream_tells_every_event_in_order(project):
    with project(STREAM).serve() as server, streaming(server, text="a b") as response:
        assert response.headers["content-type"] == "text/event-stream"
        told = list(events(response))
    # Text may be told before the output that it was written ahead of, never after what followed it.
    assert [name for name, _ in told if name != "log"] == ["start", "output", "output", "metric", "completed"]
    assert told[1][0] == "log"
    assert "".join(data["data"] for name, data in told if name == "log") == "saying a\nsaying b\n"
    assert [data for name, data in told if name == "output"] == [{"chunk": "a", "index": 0}, {"chunk": "b", "index": 1}]
    assert {data["source"] for name, data in told if name == "log"} == {"stdout"}
    assert told[-2][1] == {"name": "words", "value": 2, "mode": "replace"}
    assert (told[-1][1]["status"], told[-1][1]["output"]) == ("succeeded", ["a", "b"])


def test_a_stream_of_a_failure_ends_with_it(project):
    with project(STREAM).serve() as server, streaming(server, text="a", fail=True) as response:
        name, data = list(events(response))[-1]
    assert (name, data["status"], data["error"], data["output"]) == ("completed", "failed", "boom", ["a"])


@pytest.mark.parametrize("source", [GATED, ASYNC_GATED], ids=["sync", "async"])
def test_items_come_as_they_are_produced(project, source):
    import os

    made = project(source)
    os.mkfifo(made.root / "gate")
    with made.serve() as server, streaming(server, gate=str(made.root / "gate")) as response:
        told = events(response)
        assert [next(told)[0], next(told)[1]["chunk"]] == ["start", "before"]
        (made.root / "gate").write_text("after")
        assert next(told)[1] == {"chunk": "after", "index": 1}
        assert next(told)[1]["output"] == ["before", "after"]


def test_a_stream_can_be_joined_late_and_is_replayed(project):
    with project(STREAM).serve() as server:
        first = server.client.put("/predictions/mine", json={"input": {"text": "a b"}}).json()
        for method in ("PUT", "GET"):
            with streaming(server, method, "/predictions/mine", text="other") as response:
                told = list(events(response))
            assert [data["chunk"] for name, data in told if name == "output"] == ["a", "b"]
            assert told[-1][1] == first


def test_a_late_reader_is_told_what_it_has_missed(project):
    silent = STREAM.replace('print("saying", word)', "pass")
    made = project(silent, environ={"COG_STREAM_HISTORY_CAPACITY": "3"})
    with made.serve() as server:
        server.client.put("/predictions/mine", json={"input": {"text": "a b c"}})
        with streaming(server, "GET", "/predictions/mine") as response:
            told = list(events(response))
    assert told[0] == ("error", {"error": "some events are no longer kept", "skipped": 3})
    assert told[1] == ("output", {"chunk": "c", "index": 2})


def test_who_keeps_no_events_for_the_late_still_streams(project):
    with project(STREAM, environ={"COG_STREAM_HISTORY_CAPACITY": "0"}).serve() as server:
        with streaming(server, "PUT", "/predictions/mine", text="a b") as response:
            told = list(events(response))
        assert [name for name, _ in told if name != "log"] == ["start", "output", "output", "metric", "completed"]
        with streaming(server, "GET", "/predictions/mine") as response:
            assert [name for name, _ in events(response)] == ["error", "completed"]


def test_the_last_reader_that_leaves_cancels_the_prediction(project):
    import os

    made = project(GATED)
    os.mkfifo(made.root / "gate")
    with made.serve() as server:
        with streaming(server, "PUT", "/predictions/left", gate=str(made.root / "gate")) as response:
            assert next(events(response))[0] == "start"
        assert server.wait_until("left", lambda body: body["status"] != "processing")["status"] == "canceled"


def test_streaming_can_be_kept_to_what_the_author_marked(project):
    with project(STREAM).serve("--stream-marked-only") as server:
        answer = server.client.post("/predictions", json={"input": {"text": "a"}}, headers={"Accept": "text/event-stream"})
        assert answer.status_code == 406


def test_waiting_can_be_bounded(project):
    import os

    made = project(GATED)
    os.mkfifo(made.root / "gate")
    with made.serve() as server:
        body = {"id": "slow", "input": {"gate": str(made.root / "gate")}}
        answer = server.client.post("/predictions", json=body, headers={"Prefer": "respond-async;x, wait=1"})
        assert (answer.status_code, answer.json()["status"], answer.json()["output"]) == (202, "processing", ["before"])
        (made.root / "gate").write_text("after")
        assert server.wait_until("slow", lambda body: body["status"] == "succeeded")["output"] == ["before", "after"]


def test_webhooks_tell_start_progress_and_completion_in_order(project, receiver):
    made = project(STREAM, environ={"WEBHOOK_AUTH_TOKEN": "secret", "COG_THROTTLE_RESPONSE_INTERVAL": "0"})
    with made.serve("--allow-private-addresses") as server:
        body = {"id": "told", "input": {"text": "a b"}, "webhook": f"{receiver.url}/hook"}
        server.client.post("/predictions", json=body, headers={"Prefer": "respond-async", "traceparent": "00-1-2-01"})
        method, path, headers, content = receiver.take()
        assert (method, path, headers["Authorization"], headers["traceparent"]) == ("POST", "/hook", "Bearer secret", "00-1-2-01")
        bodies = [json.loads(content)]
        bodies += receiver.take_events() if bodies[0]["status"] == "processing" else []
        assert (bodies[-1]["status"], bodies[-1]["output"]) == ("succeeded", ["a", "b"])
        outputs = [len(body["output"] or []) for body in bodies]
        assert outputs == sorted(outputs)
    assert receiver.requests.empty()


def test_a_webhook_can_be_for_the_completion_alone_and_is_sent_until_it_is_taken(project, receiver):
    receiver.statuses = [503, 500]
    with project(STREAM).serve("--allow-private-addresses") as server:
        body = {"input": {"text": "a"}, "webhook": receiver.url, "webhook_events_filter": ["completed"]}
        assert server.client.post("/predictions", json=body).json()["status"] == "succeeded"
        statuses = [json.loads(receiver.take()[3])["status"] for _ in range(3)]
    assert statuses == ["succeeded"] * 3
    assert receiver.requests.empty()


def test_a_webhook_that_is_redirected_to_be_a_look_is_told_of(project, receiver):
    receiver.statuses = [303]
    receiver.headers = {"Location": f"{receiver.url}/elsewhere"}
    with project(STREAM).serve("--allow-private-addresses") as server:
        body = {"input": {"text": "a"}, "webhook": receiver.url, "webhook_events_filter": ["completed"]}
        assert server.client.post("/predictions", json=body).json()["status"] == "succeeded"
        assert f"redirected the webhook to '{receiver.url}/elsewhere' " in server.wait_for("not delivered")


def test_a_dead_webhook_costs_nothing_else(project):
    with project(STREAM).serve("--allow-private-addresses") as server:
        body = {"input": {"text": "a"}, "webhook": "http://127.0.0.1:9/"}
        assert server.client.post("/predictions", json=body).json()["status"] == "succeeded"
        assert server.health()["status"] == "READY"
        server.client.post("/predictions", json=body)
        server.process.terminate()
        server.process.terminate()


@pytest.mark.parametrize("field", ["webhook", "output_file_prefix"])
@pytest.mark.parametrize("value", ["nonsense", 1, "file:///etc/passwd", "http://"])
def test_what_is_no_url_is_refused(project, field, value):
    with project(STREAM).serve() as server:
        answer = server.client.post("/predictions", json={"input": {"text": "a"}, field: value})
        assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", field])


def test_private_addresses_are_not_talked_to(project, receiver):
    source = (
        "from cog import Path\nclass Predictor:\n    def predict(self, image: Path) -> str:\n        return image.read_text()\n"
    )
    with project(source).serve() as server:
        body = server.predict(image=f"{receiver.url}/secret")
        assert body["status"] == "failed"
        assert "private address" in body["error"]
    assert receiver.requests.empty()


FILES = """
    from typing import Any, Iterator
    from cog import BasePredictor, Path

    class Predictor(BasePredictor):
        def predict(self, count: int = 1) -> Iterator[Any]:
            for number in range(count):
                Path("out.txt").write_text(str(number))
                yield {"file": Path("out.txt"), "number": number}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is looked at as Linux shows it")
def test_a_list_of_large_files_is_never_in_memory_as_a_whole(project):
    source = """
        from cog import Path

        class Predictor:
            def predict(self) -> Path:
                Path("large.bin").write_bytes(bytes(30_000_000))
                return Path("large.bin")
    """
    with project(source).serve() as server:
        for number in range(4):
            server.client.put(f"/predictions/{number}", json={"input": {}})
        before = peak_megabytes(server)
        with server.client.stream("GET", "/predictions") as answer:
            assert sum(map(len, answer.iter_raw())) > 160_000_000
        assert peak_megabytes(server) < before + 50


def peak_megabytes(server):
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())[1]) // 1024


def test_files_are_uploaded_in_order_and_answered_as_urls(project, receiver):
    with project(FILES).serve("--allow-private-addresses", "--upload-url", f"{receiver.url}/store") as server:
        body = server.client.post("/predictions", json={"id": "p", "input": {"count": 2}}).json()
        uploads = [receiver.take() for _ in range(2)]
    assert [(method, path, content) for method, path, _, content in uploads] == [
        ("PUT", "/store/out.txt", b"0"),
        ("PUT", "/store/out-1.txt", b"1"),
    ]
    assert (uploads[0][2]["X-Prediction-ID"], uploads[0][2]["Content-Type"]) == ("p", "text/plain")
    assert body["output"] == [
        {"file": f"{receiver.url}/store/out.txt", "number": 0},
        {"file": f"{receiver.url}/store/out-1.txt", "number": 1},
    ]


def test_the_store_may_say_where_a_file_is(project, receiver):
    receiver.headers = {"Location": "https://cdn.example.com/x?signature=1"}
    with project(FILES).serve("--allow-private-addresses", "--upload-url", receiver.url) as server:
        assert server.predict()["output"][0]["file"] == "https://cdn.example.com/x"


def test_a_client_may_say_where_its_files_go(project, receiver):
    with project(FILES).serve("--allow-private-addresses") as server:
        body = {"input": {}, "output_file_prefix": f"{receiver.url}/mine/"}
        output = server.client.post("/predictions", json=body).json()["output"]
        _, path, headers, content = receiver.take()
    assert (path, output[0]["file"]) == ("/mine/out.txt", f"{receiver.url}/mine/out.txt")
    assert headers["Content-Type"].startswith("multipart/form-data")
    assert b'filename="out.txt"' in content


def test_an_upload_is_tried_again_and_a_failed_one_fails_the_prediction(project, receiver):
    with project(FILES).serve("--allow-private-addresses", "--upload-url", receiver.url) as server:
        receiver.statuses = [503]
        assert server.predict()["status"] == "succeeded"
        receiver.statuses = [403]
        body = server.predict()
    assert (body["status"], body["output"]) == ("failed", None)
    assert "403" in body["error"]


def test_an_upload_follows_a_redirect_that_lets_it_be_one(project, receiver):
    receiver.headers = {"Location": f"{receiver.url}/elsewhere/out.txt"}
    with project(FILES).serve("--allow-private-addresses", "--upload-url", receiver.url) as server:
        for status in (301, 307, 308):
            receiver.statuses = [status]
            assert server.predict()["output"][0]["file"] == f"{receiver.url}/elsewhere/out.txt"
            seen = [receiver.take() for _ in range(2)]
            assert [(method, path, content) for method, path, _, content in seen] == [
                ("PUT", "/out.txt", b"0"),
                ("PUT", "/elsewhere/out.txt", b"0"),
            ]


@pytest.mark.parametrize("status", [302, 303])
def test_an_upload_that_is_redirected_to_be_a_look_has_failed(project, receiver, status):
    receiver.headers = {"Location": f"{receiver.url}/elsewhere?signature=1"}
    with project(FILES).serve("--allow-private-addresses", "--upload-url", receiver.url) as server:
        receiver.statuses = [status]
        body = server.predict()
    assert (body["status"], body["output"]) == ("failed", None)
    assert f"redirected the upload to '{receiver.url}/elsewhere' " in body["error"]


def test_inputs_may_come_as_a_form_with_files(project):
    source = """
        from typing import List
        from cog import BasePredictor, Path

        class Predictor(BasePredictor):
            def predict(self, image: Path, n: int, tags: List[str] = []) -> list:
                return [image.name, image.read_text(), n, tags]
    """
    with project(source).serve() as server:
        files = {"image": ("dir/photo.jpg", b"pixels", "image/jpeg")}
        body = server.client.post("/predictions", files=files, data={"n": "3", "tags": ["a", "b"]}).json()
        assert body["output"] == ["photo.jpg", "pixels", 3, ["a", "b"]]
        assert body["input"]["image"] == "photo.jpg"
        refused = server.client.post("/predictions", files=files, data={"n": "x"})
        assert (refused.status_code, refused.json()["detail"][0]["loc"]) == (422, ["body", "input", "n"])
        read = server.client.post("/predictions", files={"n": (None, "1")}, data={"image": "/etc/passwd"})
        assert read.status_code == 422


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"nonsense", "multipart/form-data; boundary=x"),
        (b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1", "multipart/form-data; boundary=x"),
        (b"--x--", "multipart/form-data"),
    ],
)
def test_what_is_no_form_is_refused(project, content, content_type):
    with project(STREAM).serve() as server:
        answer = server.client.post("/predictions", content=content, headers={"Content-Type": content_type})
        assert (answer.status_code, server.health()["status"]) == (400, "READY")


def test_spans_of_a_prediction_reach_the_collector_in_the_requests_trace(project, receiver):
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    with project(STREAM, environ={"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}).serve() as server:
        headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
        server.client.post("/predictions", json={"input": {"text": "a"}}, headers=headers)
    _, path, _, content = receiver.take()
    assert path == "/v1/traces"
    for part in (b"prediction.wait", b"prediction.run", b"prediction.status", bytes.fromhex(trace_id)):
        assert part in content
