"""Whom a model server talks to by itself: to fetch inputs, upload outputs, notify.

URLs come from requests, and requests from anybody. So unless the owner of the server says otherwise, an address that is not on the
public internet is refused: at every hop of a redirect, and by the address that the name resolves to, which is then the one that is
connected to.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from drivetrain.model.errors import BadRequest

if TYPE_CHECKING:
    import httpx

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressRefused(BadRequest):
    """A URL leads to an address that the server does not talk to."""

    code = "address_refused"

    def __init__(self, host: str, address: Address) -> None:
        super().__init__(
            f"'{host}' is the private address {address}, which this server does not talk to",
            hint="serve with --allow-private-addresses if it should",
        )


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet; addresses wrapped in others are unwrapped first."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a server talks to by itself.

    Attributes:
        allow_private: Whether private and local addresses may be talked to.
        trusted_url: What is below this URL may be talked to whatever its address.
    """

    allow_private: bool = False
    trusted_url: str | None = None


class Outgoing:
    """Owns the client for what a server sends by itself, made (and imported) when first needed.

    Args:
        reach: Whom it may talk to.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._client: httpx.AsyncClient | None = None

    def client(self) -> httpx.AsyncClient:
        """The client."""
        if self._client is None:
            from drivetrain.serving.client import make_client

            self._client = make_client(self._reach)
        return self._client

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Close the client at the end, if there is one."""
        try:
            yield
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Close the client, if there is one. May be called twice."""
        if self._client is not None:
            await self._client.aclose()
