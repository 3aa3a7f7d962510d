"""A server that is told to end."""

import signal
import socket

import pytest


def listens(server):
    try:
        socket.create_connection((server.client.base_url.host, server.client.base_url.port)).close()
    except ConnectionError:
        return False
    return True


@pytest.mark.parametrize("file", ["input", "output"])
def test_a_second_signal_waits_for_no_file(project, file):
    source = """
        from cog import BasePredictor, Path

        class Predictor(BasePredictor):
            def predict(self, image: Path = None) -> Path:
                Path("out.txt").write_text("out")
                return Path("out.txt")
    """
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        url = f"http://{host}:{port}"
        with project(source).serve("--allow-private-addresses", "--upload-url", url) as server:
            server.predict(_prefer="respond-async", **({"image": f"{url}/a.png"} if file == "input" else {}))
            connection, _ = silent.accept()
            with connection:
                server.process.send_signal(signal.SIGINT)
                while listens(server):  # until it has seen the first signal
                    pass
                server.process.send_signal(signal.SIGINT)
                assert server.process.wait(timeout=20) == 0  # the grace is 30
    assert "Traceback" not in "".join(server.lines)
    assert "destroyed" not in "".join(server.lines)
