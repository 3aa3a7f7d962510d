"""One trace through all hops: the caller's, the platform's queue, the runner."""

import json

import pytest

pytestmark = pytest.mark.slow

TRACE = "0af7651916cd43dd8448eb211c80319c"

ECHO = """
    from cog import BasePredictor

    class Predictor(BasePredictor):
        def predict(self, text: str) -> str:
            return text
"""


@pytest.mark.parametrize("gateway", ["native", "replicate"])
def test_spans_of_platform_and_runner_are_in_the_callers_trace(platform, receiver, gateway):
    platform.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = receiver.url
    platform.up()
    platform.deploy("echo", ECHO)
    paths = {"native": "/api/v1/apps/me/echo/predictions?wait", "replicate": "/v1/models/me/echo/predictions"}
    headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "Prefer": "wait"}
    answer = platform.http.post(paths[gateway], json={"input": {"text": "a"}}, headers=headers)
    assert answer.is_success, answer.text
    platform.stop()  # what has not been sent is sent then, by the runner too
    told = b""
    wanted = (b"platform.prediction", b"platform.queue", b"platform.run", b"prediction.wait", b"prediction.run")
    while not all(name in told for name in wanted):
        _, path, _, content = receiver.take()
        assert path == "/v1/traces"
        assert bytes.fromhex(TRACE) in content
        told += content
    assert json.loads(answer.content)["id"].encode() in told
