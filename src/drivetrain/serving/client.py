"""The HTTP client for everything that a model server fetches, uploads and notifies. Slow to import: see ``outgoing``."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from weakref import WeakValueDictionary

import httpcore
import httpx

from drivetrain import __version__
from drivetrain.serving.outgoing import Address, AddressRefused, Reach, is_public

_CONNECTIONS_PER_HOST = 16
_WAIT_SECONDS = 30.0
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)


def make_client(reach: Reach, *, redirects: int = 10, network: httpcore.AsyncNetworkBackend | None = None) -> httpx.AsyncClient:
    """A client that keeps connections open.

    Args:
        reach: Whom it may talk to.
        redirects: Hops that a request may take.
        network: Connects to public addresses; by default over the network.
    """
    return httpx.AsyncClient(
        transport=_Fair(_transport(reach, network or httpcore.AnyIOBackend())),
        follow_redirects=redirects > 0,
        max_redirects=redirects,
        timeout=httpx.Timeout(30, read=60),
        headers={"User-Agent": f"drivetrain/{__version__}"},
    )


class _Fair(httpx.AsyncBaseTransport):
    """Limits the connections to each host and not their sum, so that a host that hangs holds up nobody else."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self._permits: WeakValueDictionary[bytes, asyncio.Semaphore] = WeakValueDictionary()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        permits = self._permits.setdefault(request.url.netloc, asyncio.Semaphore(_CONNECTIONS_PER_HOST))
        try:
            await asyncio.wait_for(permits.acquire(), _WAIT_SECONDS)
        except asyncio.TimeoutError:
            raise httpx.PoolTimeout(f"'{request.url.host}' has not answered earlier requests yet", request=request) from None
        try:
            return await self._inner.handle_async_request(request)
        finally:
            permits.release()

    async def aclose(self) -> None:
        await self._inner.aclose()


def _transport(reach: Reach, network: httpcore.AsyncNetworkBackend) -> httpx.AsyncBaseTransport:
    if reach.allow_private:
        return httpx.AsyncHTTPTransport(limits=_LIMITS)
    tls = httpx.create_ssl_context()
    public = _PublicTransport(_PublicNetwork(network), tls)
    if reach.trusted_url is None:
        return public
    return _Trusting(httpx.URL(reach.trusted_url), httpx.AsyncHTTPTransport(verify=tls, limits=_LIMITS), public)


class _PublicTransport(httpx.AsyncHTTPTransport):
    """httpx's own, which offers no way to pass it a network."""

    def __init__(self, network: httpcore.AsyncNetworkBackend, tls: ssl.SSLContext) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=_LIMITS.max_connections,
            max_keepalive_connections=_LIMITS.max_keepalive_connections,
            keepalive_expiry=_LIMITS.keepalive_expiry,
            network_backend=network,
        )


class _PublicNetwork(httpcore.AsyncNetworkBackend):
    """Resolves a host and connects to the address it has looked at: a name cannot change its mind in between.

    All above it, such as TLS and the choice of a connection that is open already, goes by the name.
    """

    def __init__(self, inner: httpcore.AsyncNetworkBackend) -> None:
        self._inner = inner

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        address = await _public_address(host, port)
        return await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)


class _Trusting(httpx.AsyncBaseTransport):
    """Talks to what is below one URL whatever its address, over connections that requests to anything else do not get."""

    def __init__(self, trusted: httpx.URL, unchecked: httpx.AsyncBaseTransport, public: httpx.AsyncBaseTransport) -> None:
        self._trusted = trusted
        self._unchecked = unchecked
        self._public = public

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        transport = self._unchecked if _is_below(request.url, self._trusted) else self._public
        return await transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self._unchecked.aclose()
        await self._public.aclose()


def _is_below(url: httpx.URL, top: httpx.URL) -> bool:
    if (url.scheme, url.host, url.port) != (top.scheme, top.host, top.port):
        return False
    # Steps upwards have been resolved by now, but not those that are quoted, which the server may unquote first.
    return url.path.startswith(top.path.rstrip("/") + "/") and not any(step in ("..", ".") for step in url.path.split("/"))


async def _public_address(host: str, port: int) -> Address:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise httpcore.ConnectError(f"the host '{host}' is not known: {error.strerror}") from error
    addresses = [ipaddress.ip_address(info[4][0]) for info in found]
    for address in addresses:
        if not is_public(address):
            raise AddressRefused(host, address)
    return addresses[0]
