"""How a connection takes requests, answers them in order, and ends; and what it costs when its client does nothing."""

import asyncio
import contextlib
import json
import socket

import pytest
import uvloop

from drivetrain.serving.http import http_server
from drivetrain.serving.http.exchange import HttpError
from drivetrain.serving.http.http_server import HttpServer


class Handler:
    """Answers with the path at once, or later, or with as much as the body has megabytes, or never."""

    def __init__(self):
        self.seen = []
        self.made = 0
        self.asked = asyncio.Event()
        self.gone = asyncio.Event()
        self.go = asyncio.Event()

    def handle(self, exchange):
        self.seen.append(exchange.path)
        if exchange.path in ("/later", "/never"):
            self.asked.set()
        if exchange.path == "/later":
            return self.later(exchange)
        if exchange.path == "/never":
            exchange.on_client_gone(self.gone.set)
            return None
        if exchange.path == "/body":
            return self.body(exchange)
        if exchange.path == "/much":
            exchange.respond_bytes(200, b"x" * 30_000_000, b"text/plain")
            return None
        if exchange.path.startswith("/sized"):
            return exchange.respond_sized(200, 30_000_000, self.pieces(), b"text/plain")
        if exchange.path == "/refused":
            exchange.respond(413, {"detail": "no"})
            return None
        if exchange.path == "/stream":
            exchange.begin_stream(b"text/plain", writable=lambda: None)
            exchange.send(b"one")
            exchange.send(b"two")
            exchange.end_stream()
            return None
        exchange.respond(200, exchange.path)
        return None

    async def later(self, exchange):
        await self.go.wait()
        exchange.respond(200, exchange.path)

    async def pieces(self):
        for _ in range(30 if self.seen[-1] == "/sized" else 10):
            self.made += 1
            yield b"x" * 1_000_000

    async def body(self, exchange):
        size = 0
        try:
            async for chunk in exchange.body_chunks():
                size += len(chunk)
        except HttpError as error:
            exchange.respond(error.status, error.body)
        else:
            exchange.respond(200, size)


def run(client, *, patience=60.0, monkeypatch=None, body_limit=10_000_000):
    """Run a client against a server, which must be able to end at the end."""

    async def main():
        handler = Handler()
        server = HttpServer(handler.handle, body_limit=body_limit, extra_headers=[(b"x-extra", b"1")])
        listener = socket.create_server(("127.0.0.1", 0))
        await server.start([listener])
        reader, writer = await asyncio.open_connection(*listener.getsockname(), limit=1000)
        try:
            await client(reader, writer, handler, server)
        finally:
            writer.close()
            server.close()
            await server.closed()

    if monkeypatch is not None:
        monkeypatch.setattr(http_server, "_PATIENCE_SECONDS", patience)
    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(asyncio.wait_for(main(), 20))
    finally:
        loop.close()


def get(path, *more, version="1.1"):
    return "\r\n".join([f"GET {path} HTTP/{version}", "Host: here", *more, "", ""]).encode()


def post(path, size, *more):
    return "\r\n".join([f"POST {path} HTTP/1.1", f"Content-Length: {size}", *more, "", ""]).encode()


async def answer(reader):
    """Status, headers and body of one answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return int(head[0].split()[1]), headers, body


def test_answers_come_in_the_order_of_the_requests():
    async def client(reader, writer, handler, _server):
        writer.write(get("/later") + get("/a") + get("/b"))
        await handler.asked.wait()
        writer.write(get("/c"))
        handler.go.set()
        assert [json.loads((await answer(reader))[2]) for _ in range(4)] == ["/later", "/a", "/b", "/c"]

    run(client)


def test_a_thousand_requests_at_once_do_not_nest():
    async def client(reader, writer, _handler, _server):
        writer.write(get("/a") * 1000)
        for _ in range(1000):
            assert (await answer(reader))[0] == 200

    run(client)


def test_every_answer_has_the_extra_headers_a_date_and_its_length():
    async def client(reader, writer, _handler, _server):
        writer.write(get("/a"))
        status, headers, body = await answer(reader)
        assert (status, body, headers["x-extra"], headers["content-length"]) == (200, b'"/a"', "1", "4")
        assert headers["date"].endswith("gmt")
        assert "connection" not in headers

    run(client)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (get("/a", "Connection: close"), "close"),
        (get("/a", version="1.0"), "close"),
    ],
    ids=["asked for", "1.0"],
)
def test_a_connection_ends_when_its_client_wants_no_more(request_, said):
    async def client(reader, writer, _handler, _server):
        writer.write(request_)
        assert (await answer(reader))[1]["connection"] == said
        assert await reader.read() == b""

    run(client)


def test_an_old_client_may_keep_its_connection():
    async def client(reader, writer, _handler, _server):
        for _ in range(2):
            writer.write(get("/a", "Connection: keep-alive", version="1.0"))
            assert (await answer(reader))[1]["connection"] == "keep-alive"

    run(client)


def test_a_stream_comes_in_chunks():
    async def client(reader, writer, _handler, _server):
        writer.write(get("/stream") + get("/a"))
        _, headers, _ = await answer(reader)
        assert headers["transfer-encoding"] == "chunked"
        assert await reader.readexactly(21) == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
        assert (await answer(reader))[0] == 200

    run(client)


def test_a_stream_for_an_old_client_ends_with_the_connection():
    async def client(reader, writer, _handler, _server):
        writer.write(get("/stream", version="1.0"))
        assert "transfer-encoding" not in (await answer(reader))[1]
        assert await reader.read() == b"onetwo"

    run(client)


def test_a_head_is_answered_without_a_body():
    async def client(reader, writer, _handler, _server):
        for path in ("/a", "/stream"):
            writer.write(get(path).replace(b"GET", b"HEAD"))
            assert b"200" in await reader.readuntil(b"\r\n\r\n")
        writer.write(get("/b"))
        assert (await answer(reader))[2] == b'"/b"'

    run(client)


def test_an_answer_of_known_length_comes_as_fast_as_it_is_read():
    async def client(reader, writer, handler, _server):
        writer.write(get("/sized") + get("/a"))
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(1000):
            await asyncio.sleep(0)
        assert handler.made < 25  # what the kernel takes
        assert await reader.readexactly(30_000_000) == b"x" * 30_000_000
        assert (await answer(reader))[2] == b'"/a"'

    run(client)


def test_an_answer_that_is_shorter_than_was_said_is_cut():
    async def client(reader, writer, _handler, _server):
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        writer.write(get("/sized-wrong"))
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(31_000_000)

    run(client)


def test_the_client_of_a_long_answer_may_go():
    async def client(reader, writer, handler, _server):
        writer.write(get("/sized"))
        await reader.readuntil(b"\r\n\r\n")
        assert handler.made < 25

    run(client)


def test_a_large_body_is_read_as_it_comes():
    async def client(reader, writer, _handler, _server):
        writer.write(post("/body", 9_000_000) + b"x" * 9_000_000 + get("/a"))
        assert (await answer(reader))[2] == b"9000000"
        assert (await answer(reader))[2] == b'"/a"'

    run(client)


def test_a_client_that_asks_is_told_to_send_its_body():
    async def client(reader, writer, _handler, _server):
        writer.write(post("/body", 5, "Expect: 100-continue"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"12345")
        assert (await answer(reader))[2] == b"5"

    run(client)


def test_a_client_whose_body_is_refused_sees_the_answer_while_it_still_sends():
    async def client(reader, writer, _handler, _server):
        writer.write(post("/body", 20_000_000))
        for _ in range(20):
            writer.write(b"x" * 1_000_000)
            await asyncio.sleep(0)
        status, headers, _ = await answer(reader)
        assert (status, headers["connection"]) == (413, "close")
        assert await reader.read() == b""

    run(client)


def test_a_refused_body_does_not_become_a_request():
    async def client(reader, writer, handler, _server):
        writer.write(post("/refused", 1_000_000))
        assert (await answer(reader))[0] == 413
        writer.write(get("/a") * 100)
        assert await reader.read() == b""
        assert handler.seen == ["/refused"]

    run(client)


def test_the_handler_is_told_when_its_client_goes():
    async def client(_reader, writer, handler, _server):
        writer.write(get("/never"))
        await handler.asked.wait()
        writer.close()
        await handler.gone.wait()

    run(client)


def test_what_follows_a_request_that_is_none_is_answered_after_those_before():
    async def client(reader, writer, _handler, _server):
        writer.write(get("/a") + b"nonsense\r\n\r\n")
        assert [(await answer(reader))[0] for _ in range(2)] == [200, 400]
        assert await reader.read() == b""

    run(client)


def test_a_server_that_ends_closes_idle_connections_and_answers_what_waits():
    async def client(reader, writer, handler, server):
        writer.write(get("/a"))
        await answer(reader)
        writer.write(get("/later"))
        await handler.asked.wait()
        server.close()
        handler.go.set()
        _, headers, body = await answer(reader)
        assert (headers["connection"], body) == ("close", b'"/later"')
        await server.closed()

    run(client)


@pytest.mark.parametrize(
    "data",
    [b"", get("/a"), b"GET / HTTP/1.1\r\n", post("/body", 5) + b"abc", post("/body", 9_000_000) + b"abc", get("/a") + b"GET /"],
    ids=["nothing", "whole", "head", "body", "large body", "second head"],
)
def test_a_client_that_does_nothing_when_it_is_its_turn_is_cut(monkeypatch, data):
    async def client(reader, writer, _handler, _server):
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            await reader.read()

    run(client, patience=0.2, monkeypatch=monkeypatch)


def test_a_client_that_does_not_read_is_cut(monkeypatch):
    async def client(_reader, writer, _handler, _server):
        writer.write(get("/much"))
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)

    run(client, patience=0.2, monkeypatch=monkeypatch)


def test_a_client_that_is_refused_may_not_send_for_ever(monkeypatch):
    async def client(reader, writer, _handler, _server):
        writer.write(post("/refused", 9_000_000_000))
        assert (await answer(reader))[0] == 413
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)

    run(client, patience=0.2, monkeypatch=monkeypatch)


def test_a_client_that_sends_slowly_is_served(monkeypatch):
    async def client(reader, writer, _handler, _server):
        for byte in post("/body", 1) + b"x":
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
        assert (await answer(reader))[2] == b"1"

    run(client, patience=0.2, monkeypatch=monkeypatch)


def test_a_client_that_reads_slowly_gets_its_answer(monkeypatch):
    async def client(reader, writer, _handler, _server):
        writer.write(get("/much", "Connection: close"))
        size = 0
        while data := await reader.read(200_000):
            size += len(data)
            await asyncio.sleep(0.004)
        assert size > 30_000_000

    run(client, patience=0.2, monkeypatch=monkeypatch)


def test_a_client_may_wait_for_its_answer_as_long_as_it_takes(monkeypatch):
    async def client(reader, writer, handler, _server):
        writer.write(get("/later"))
        await asyncio.sleep(0.5)
        handler.go.set()
        assert (await answer(reader))[0] == 200

    run(client, patience=0.2, monkeypatch=monkeypatch)


def test_a_head_that_is_too_large_is_told_so():
    async def client(reader, writer, _handler, _server):
        writer.write(b"GET / HTTP/1.1\r\nX: " + b"x" * 66_000)
        assert (await answer(reader))[0] == 431

    run(client)


def test_it_listens_on_a_path(tmp_path):
    async def main():
        server = HttpServer(Handler().handle)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "socket"))
        await server.start([listener])
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "socket"))
        writer.write(get("/a"))
        assert (await answer(reader))[0] == 200
        writer.close()
        server.close()
        await server.closed()

    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(asyncio.wait_for(main(), 20))
    finally:
        loop.close()
