"""Connections as no well-behaved client makes them: answered with a reason, cut, or served; and the server is none the worse."""

import contextlib
import itertools
import json
import os
import socket
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

generously = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))

BODY = b'{"input":{"text":"hello"}}'


def request(
    body=BODY, *, method="POST", path="/predictions", version="HTTP/1.1", length=True, connection="close", content="json", more=()
):
    lines = [f"{method} {path} {version}", "Host: here", f"Content-Type: application/{content}", f"Connection: {connection}", *more]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def connect(server):
    host, port = server.base.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read(connection):
    """Everything up to the end of the connection, however it ends."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def exchange(server, data):
    with connect(server) as connection:
        with contextlib.suppress(ConnectionError):  # cut before it was all sent
            connection.sendall(data)
        return read(connection)


def status(answer):
    return int(answer.split(b" ", 2)[1])


def assert_predicted(answer):
    assert status(answer) == 200, answer
    assert json.loads(answer.rpartition(b"\r\n\r\n")[2])["output"]["text"] == "hello"


def assert_cut(connection, parts):
    with pytest.raises(ConnectionError):
        deque(map(connection.sendall, parts), maxlen=0)


def chunked(*chunks, end=b"0\r\n\r\n"):
    return b"".join(b"%X\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + end


@pytest.mark.parametrize(
    "data",
    [
        request(version="HTTP/1.0"),
        request(more=["Expect: 100-continue"]).replace(b"100-continue", b"banana"),
        request(chunked(BODY[:3], BODY[3:]), length=False, more=["Transfer-Encoding: chunked"]),
        request(chunked(*(BODY[at : at + 1] for at in range(len(BODY)))), length=False, more=["Transfer-Encoding: chunked"]),
        request(chunked(BODY, end=b"0\r\nPrefer: respond-async\r\n\r\n"), length=False, more=["Transfer-Encoding: chunked"]),
        request(path="http://elsewhere.example/predictions"),
        request(more=["Upgrade: h2c"]),
        b"\r\n\r\n" + request(),
    ],
    ids=["1.0", "expectation", "chunked", "bytewise", "trailer", "absolute", "upgrade", "blank lines"],
)
def test_uncommon_requests_are_served(server, data):
    assert_predicted(exchange(server, data))


@pytest.mark.parametrize(
    "data",
    [
        request(more=["Transfer-Encoding: chunked"]),
        request(more=["Content-Length: 3"]),
        request(length=False, more=["Content-Length: -5"]),
        request(length=False, more=["Content-Length: 99999999999999999999999"]),
        request(length=False, more=["Content-Length: 9999999999"]),
        request(length=False, more=["Transfer-Encoding: gzip"]),
        request(length=False, more=["Transfer-Encoding : chunked"]),
        request(b"ZZ\r\nx", length=False, more=["Transfer-Encoding: chunked"]),
        request(b"FFFFFFFFFFFFFFFFFF\r\nx", length=False, more=["Transfer-Encoding: chunked"]),
        request(method="BREW"),
        request(method="post"),
        request(path="/predictions/\xff\xfe"),
        request(path="/\0"),
        request(path="predictions"),
        request(path="/" + "x" * 100_000),
        request(version="HTTP/9.9"),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500),
        b"GET /health-check HTTP/1.1\r\nHost: here\r\nno colon\r\n\r\n",
        b"GET /health-check HTTP/1.1\r\nHost: here\r\nX: a\nContent-Length: 3\r\n b\r\n\r\n",
        b"X" * 1000,
    ],
    ids=lambda data: repr(data[-40:]),
)
def test_what_is_no_request_is_refused(server, data):
    answer = exchange(server, data)
    assert answer == b"" or status(answer) in (400, 404, 405, 413), answer


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "DELETE", "PATCH", "CONNECT", "PROPFIND"])
def test_methods_that_mean_nothing_here_are_refused(server, method):
    assert status(exchange(server, request(b"", method=method))) == 405


def test_head_has_the_headers_alone(server):
    answer = exchange(server, request(b"", method="HEAD", path="/health-check"))
    assert status(answer) == 200
    assert answer.endswith(b"\r\n\r\n")
    assert b"application/json" in answer


@generously
@given(st.binary(min_size=1, max_size=400))
def test_garbage(server, data):
    with connect(server) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = read(connection)
    assert answer == b"" or 400 <= status(answer) < 500


@generously
@given(st.integers(0, len(request()) - 1), st.binary(min_size=1, max_size=3))
def test_a_request_with_some_bytes_changed(server, at, change):
    data = request()
    with connect(server) as connection:
        connection.sendall(data[:at] + change + data[at + len(change) :])
        connection.shutdown(socket.SHUT_WR)
        answer = read(connection)
    assert answer == b"" or status(answer) < 500


def test_a_client_that_waits_for_leave_to_send_its_body_gets_it(server):
    with connect(server) as connection:
        connection.sendall(request(more=["Expect: 100-continue"]).removesuffix(BODY))
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert_predicted(read(connection))


def test_a_request_may_come_byte_by_byte(server):
    with connect(server) as connection:
        for byte in request():
            connection.sendall(bytes([byte]))
        assert_predicted(read(connection))


def test_requests_may_be_sent_before_the_answers_are_read(server):
    answer = exchange(server, request(connection="keep-alive") * 49 + request())
    assert answer.count(b"HTTP/1.1 200 OK") == 50


def test_a_connection_that_ends_in_the_middle_of_a_request_leaves_nothing(server):
    for end in range(1, len(request()), 7):
        with connect(server) as connection:
            connection.sendall(request()[:end])


def test_a_client_that_resets_its_connection_leaves_nothing(server):
    for _ in range(50):
        connection = connect(server)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.sendall(request())
        connection.close()


def test_a_head_without_end_is_cut(server):
    before = server.footprint()
    with connect(server) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: here\r\nX: ")
        assert_cut(connection, itertools.repeat(b"x" * 100_000, 1000))
    assert server.footprint().megabytes < before.megabytes + 20


def test_headers_without_end_are_cut(server):
    with connect(server) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: here\r\n")
        assert_cut(connection, (b"X-%d: %s\r\n" % (number, b"x" * 1000) for number in range(100_000)))


def test_trailers_are_no_headers(server):
    trailers = b"0\r\nContent-Type: text/plain\r\nAccept: text/event-stream\r\n\r\n"
    assert_predicted(exchange(server, request(chunked(BODY, end=trailers), length=False, more=["Transfer-Encoding: chunked"])))


def test_three_hundred_clients_at_once(server):
    connections = [connect(server) for _ in range(300)]
    for connection in connections:
        connection.sendall(request())
    for connection in connections:
        with connection:
            assert_predicted(read(connection))


def test_three_hundred_clients_that_only_connect(server):
    connections = [connect(server) for _ in range(300)]
    assert server.health()["status"] == "READY"
    assert_predicted(exchange(server, request()))
    for connection in connections:
        connection.close()


def test_clients_in_every_way_at_once(server):
    """What one does to its connection is no other's concern."""
    gate = threading.Barrier(16)

    def run(number):
        gate.wait(30)
        for _ in range(20):
            if number % 4 == 0:
                exchange(server, os.urandom(300) + b"\r\n\r\n")
            elif number % 4 == 1:
                with connect(server) as connection:
                    connection.sendall(request()[:-3])
            else:
                assert_predicted(exchange(server, request()))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(run, range(16)))


LARGE_STREAM = """
    from typing import Iterator

    class Predictor:
        def predict(self, megabytes: int = 100) -> Iterator[str]:
            for number in range(megabytes):
                yield "x" * 1_000_000
"""


def test_clients_that_never_read_a_large_answer(project):
    with project(LARGE_STREAM).serve("--queue", "20") as server:
        server.predict(megabytes=1)
        before = server.footprint()
        connections = [connect(server) for _ in range(4)]
        for connection, accept in zip(connections, ["text/event-stream", "application/json"] * 2, strict=True):
            connection.sendall(request(b'{"input":{}}', more=[f"Accept: {accept}"]))
        while 'status="succeeded"} 5.0' not in server.client.get("/metrics").text:
            pass
        assert server.health()["status"] == "READY"
        assert server.predict(megabytes=1)["status"] == "succeeded"
        for connection in connections:
            connection.close()
        for _ in range(3):
            server.predict(megabytes=1)
        assert server.footprint().descriptors <= before.descriptors + 2
        assert server.footprint().megabytes < before.megabytes + 500  # of what has ended, only so much is kept
