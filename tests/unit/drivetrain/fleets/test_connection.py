"""One HTTP connection to a runner, against a server that answers what the test says."""

import asyncio
import contextlib

import pytest

from drivetrain.fleets.connection import Connection, ConnectionBroken


@pytest.fixture
def answered(tmp_path):
    """Runs a coroutine function with a connection to a server that is a coroutine function too: ``answered(serve, test)``."""

    def run(serve, test):
        async def main():
            path = str(tmp_path / "socket")
            server = await asyncio.start_unix_server(serve, path)
            _, connection = await asyncio.get_running_loop().create_unix_connection(Connection, path)
            try:
                await asyncio.wait_for(test(connection), 20)
            finally:
                connection.close()
                server.close()

        asyncio.run(main())

    return run


async def request(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    return head, await reader.readexactly(length)


def saying(*answers):
    """A server that gives these answers to the requests of a connection, in turn, and then hangs up."""

    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError):
            for answer in answers:
                await request(reader)
                writer.write(answer)
                await writer.drain()
        writer.close()

    return serve


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_a_request_is_answered_and_the_connection_serves_again(answered):
    async def test(connection):
        for _ in range(2):
            connection.send("GET", "/", {}, b"")
            assert await connection.status() == 200
            assert await connection.read_all() == b"ok"
        assert connection.is_reused

    answered(saying(OK, OK), test)


def test_a_request_is_what_was_given(answered):
    seen = []

    async def serve(reader, writer):
        seen.append(await request(reader))
        writer.write(OK)
        writer.close()

    async def test(connection):
        connection.send("PUT", "/predictions/p", {"Accept": "text/event-stream"}, b'{"input":{}}')
        await connection.status()
        head, body = seen[0]
        assert head.startswith(b"PUT /predictions/p HTTP/1.1\r\n")
        assert b"\r\nAccept: text/event-stream\r\n" in head
        assert body == b'{"input":{}}'

    answered(serve, test)


def test_a_hang_up_before_the_answer_is_told_from_one_within_it(answered):
    async def test(connection):
        connection.send("GET", "/", {}, b"")
        with pytest.raises(ConnectionBroken) as caught:
            await connection.status()
        assert not caught.value.was_answered

    async def within(connection):
        connection.send("GET", "/", {}, b"")
        assert await connection.status() == 200
        with pytest.raises(ConnectionBroken) as caught:
            await connection.read_all()
        assert caught.value.was_answered
        assert not connection.is_idle

    answered(saying(b""), test)
    answered(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok"), within)


def test_what_is_no_http_breaks_the_connection(answered):
    async def test(connection):
        connection.send("GET", "/", {}, b"")
        with pytest.raises(ConnectionBroken):
            await connection.status()

    answered(saying(b"SSH-2.0-OpenSSH\r\n"), test)


def test_a_server_that_closes_after_its_answer_is_not_asked_again(answered):
    async def test(connection):
        connection.send("GET", "/", {}, b"")
        assert await connection.read_all() == b"ok"
        assert not connection.is_idle

    answered(saying(OK.replace(b"Content-Length", b"Connection: close\r\nContent-Length")), test)


def test_a_reader_that_is_slow_makes_the_server_wait(answered):
    """Of 64 MB that the server would like to send, little leaves it before somebody reads."""
    sent = 0

    async def serve(reader, writer):
        nonlocal sent
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(1024):
                writer.write(b"x" * 65536)
                await writer.drain()
                sent += 65536
        writer.close()

    async def test(connection):
        connection.send("GET", "/", {}, b"")
        await connection.status()
        before = -1
        while before != sent:  # until nothing moves any more
            before = sent
            await asyncio.sleep(0.05)
        assert sent < 8 * 1024 * 1024
        assert len(await connection.read_all()) == 67108864

    answered(serve, test)
