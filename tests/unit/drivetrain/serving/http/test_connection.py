"""What a connection costs when its client does nothing."""

import asyncio
import contextlib
import socket

import pytest
import uvicorn

from drivetrain.serving.http import connection
from drivetrain.serving.http.connection import Connection


@pytest.fixture(autouse=True)
def impatience(monkeypatch):
    monkeypatch.setattr(connection, "_PATIENCE_SECONDS", 0.2)


async def application(scope, receive, send):
    """Answers a request with as many megabytes as its body has bytes."""
    size = len((await receive()).get("body", b""))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % (size * 1_000_000))]})
    for _ in range(size):
        await send({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@contextlib.asynccontextmanager
async def connected():
    """A client's reader and writer; the server must be able to end at the end."""
    config = uvicorn.Config(application, http=Connection, lifespan="off", log_config=None, timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server._serve([listener]))
    reader, writer = await asyncio.open_connection(*listener.getsockname(), limit=1000)
    try:
        yield reader, writer
    finally:
        writer.close()
        server.should_exit = True
        await serving


def run(client):
    async def main():
        async with connected() as streams:
            await asyncio.wait_for(client(*streams), 20)

    asyncio.run(main())


@pytest.mark.parametrize(
    "data",
    [b"", b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc", b"GET / HTTP/1.1\r\n\r\nGET /"],
    ids=["nothing", "head", "body", "second head"],
)
def test_a_client_that_stops_in_the_middle_of_a_request_is_cut(data):
    async def client(reader, writer):
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            await reader.read()

    run(client)


def test_a_client_that_sends_slowly_is_served():
    async def client(reader, writer):
        for byte in b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx":
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
        assert (await reader.read(15)) == b"HTTP/1.1 200 OK"

    run(client)


def test_a_client_that_does_not_read_is_cut():
    async def client(_reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 50\r\n\r\n" + b"x" * 50)
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)

    run(client)


def test_a_client_that_reads_slowly_gets_its_answer():
    async def client(reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 20\r\nConnection: close\r\n\r\n" + b"x" * 20)
        size = 0
        while data := await reader.read(200_000):
            size += len(data)
            await asyncio.sleep(0.005)
        assert size > 20_000_000

    run(client)


def test_a_head_that_is_too_large_is_told_so():
    async def client(reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nX: " + b"x" * 66_000)
        assert b"431" in await reader.read(30)

    run(client)
