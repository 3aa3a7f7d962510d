"""The client for what a server sends by itself: by which names, and to which addresses."""

import asyncio
import socket

import httpcore
import httpx
import pytest

from drivetrain.model.prediction import OutputFile
from drivetrain.serving.client import make_client
from drivetrain.serving.outgoing import AddressRefused, Reach
from drivetrain.serving.uploads import Target, Uploader

ADDRESSES = {
    "bucket.example.com": "93.184.216.34",
    "other.example.com": "93.184.216.34",
    "inside.example.com": "10.0.0.1",
    "127.0.0.1": "127.0.0.1",
}
TAKEN = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Network(httpcore.AsyncNetworkBackend):
    """Gives the same answers on every connection, and remembers where each went and whom TLS was to verify."""

    def __init__(self, *answers):
        self.answers = answers
        self.addresses = []
        self.verified = []

    async def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        self.addresses.append((host, port))
        return Connection(self)


class Connection(httpcore.AsyncMockStream):
    def __init__(self, network):
        super().__init__(list(network.answers))
        self._network = network

    async def start_tls(self, ssl_context, server_hostname=None, timeout=None):
        self._network.verified.append(server_hostname)
        return self


@pytest.fixture(autouse=True)
def names(monkeypatch):
    def resolve(host, port, *_arguments, **_options):
        if host not in ADDRESSES:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ADDRESSES[host], port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def fetch(network, *urls):
    async def main():
        async with make_client(Reach(), network=network) as client:
            return [await client.get(url) for url in urls]

    return asyncio.run(main())


def test_an_answer_is_of_the_name_and_the_connection_to_the_address():
    network = Network(TAKEN)
    (answer,) = fetch(network, "https://bucket.example.com/a")
    assert str(answer.url) == "https://bucket.example.com/a"
    assert (network.addresses, network.verified) == ([("93.184.216.34", 443)], ["bucket.example.com"])


def test_two_names_of_one_address_do_not_share_a_connection():
    network = Network(TAKEN)
    fetch(network, "https://bucket.example.com/", "https://other.example.com/")
    assert network.verified == ["bucket.example.com", "other.example.com"]


def test_a_relative_redirect_stays_with_the_name():
    network = Network(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n", TAKEN)
    (answer,) = fetch(network, "https://bucket.example.com/a")
    assert (str(answer.url), len(network.addresses)) == ("https://bucket.example.com/b", 1)


@pytest.mark.parametrize("target", ["http://inside.example.com/", "http://127.0.0.1/", "//inside.example.com/"])
def test_a_redirect_to_a_private_address_is_refused(target):
    network = Network(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % target.encode())
    with pytest.raises(AddressRefused):
        fetch(network, "https://bucket.example.com/a")
    assert network.addresses == [("93.184.216.34", 443)]


def test_a_name_that_is_not_known_is_named():
    with pytest.raises(httpx.ConnectError, match=r"the host 'gone\.example\.com' is not known: no such name"):
        fetch(Network(), "https://gone.example.com/")


def test_an_uploaded_file_is_where_it_was_put(tmp_path):
    async def main():
        (tmp_path / "x.png").write_bytes(b"pixels")
        file = OutputFile(pointer=(), path=tmp_path / "x.png", name="x.png")
        async with make_client(Reach(), network=Network(TAKEN)) as client:
            return await Uploader(lambda: client).upload(file, Target(url="https://bucket.example.com/a"), "id")

    assert asyncio.run(main()) == "https://bucket.example.com/a/x.png"


def test_nobody_else_gets_a_connection_that_was_opened_for_a_trusted_url():
    async def main():
        gone = asyncio.Event()

        async def answer(reader, writer):
            while await reader.readline():
                await reader.readuntil(b"\r\n\r\n")
                writer.write(TAKEN)
            writer.close()
            gone.set()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as listener:
            host, port = listener.sockets[0].getsockname()
            base = f"http://{host}:{port}"
            async with make_client(Reach(trusted_url=f"{base}/files/token")) as client:
                assert (await client.get(f"{base}/files/token/a")).status_code == 200
                with pytest.raises(AddressRefused):
                    await client.get(f"{base}/files/other/a")
            await gone.wait()

    asyncio.run(main())
