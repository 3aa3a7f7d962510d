"""The HTTP client for everything that a model server fetches, uploads and notifies. Slow to import: see ``outgoing``."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from weakref import WeakValueDictionary

import httpx

from drivetrain import __version__
from drivetrain.serving.outgoing import Address, AddressRefused, Reach, is_public

_CONNECTIONS_PER_HOST = 16
_WAIT_SECONDS = 30.0


def make_client(reach: Reach, *, redirects: int = 10) -> httpx.AsyncClient:
    """A client that keeps connections open.

    Args:
        reach: Whom it may talk to.
        redirects: Hops that a request may take.
    """
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    transport: httpx.AsyncBaseTransport = httpx.AsyncHTTPTransport(limits=limits)
    if not reach.allow_private:
        transport = _PublicOnly(transport, trusted=httpx.URL(reach.trusted_url) if reach.trusted_url is not None else None)
    return httpx.AsyncClient(
        transport=_Fair(transport),
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


class _PublicOnly(httpx.AsyncBaseTransport):
    """Resolves the host itself and connects to the address it has looked at: a name cannot change its mind in between."""

    def __init__(self, inner: httpx.AsyncBaseTransport, *, trusted: httpx.URL | None) -> None:
        self._inner = inner
        self._trusted = trusted

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._trusted is not None and _is_below(request.url, self._trusted):
            return await self._inner.handle_async_request(request)
        host = request.url.host
        address = await _public_address(host, request.url.port or (443 if request.url.scheme == "https" else 80))
        request.extensions = {**request.extensions, "sni_hostname": host}
        request.url = request.url.copy_with(host=str(address))  # the Host header has been set from the name
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


def _is_below(url: httpx.URL, top: httpx.URL) -> bool:
    if (url.scheme, url.host, url.port) != (top.scheme, top.host, top.port):
        return False
    # Steps upwards have been resolved by now, but not those that are quoted, which the server may unquote first.
    return url.path.startswith(top.path.rstrip("/") + "/") and not any(step in ("..", ".") for step in url.path.split("/"))


async def _public_address(host: str, port: int) -> Address:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise httpx.ConnectError(f"the host '{host}' is not known: {error.strerror}") from error
    addresses = [ipaddress.ip_address(info[4][0]) for info in found]
    for address in addresses:
        if not is_public(address):
            raise AddressRefused(host, address)
    return addresses[0]
