"""Who calls: every route of every gateway is made here, and says whom it lets in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from drivetrain.platform.access import Caller, Unauthenticated

Endpoint: TypeAlias = Callable[[Request, Caller], Awaitable[Response]]

#: Schemes of the Authorization header: everybody's, that of Replicate's older clients, that of fal's.
_SCHEMES = frozenset({"bearer", "token", "key"})

_NOBODY = Caller()


class Admits(Enum):
    """Whom a route lets in. What they may do there is asked by the use case."""

    KEYS = "keys"  #: callers with a valid key
    CALLERS = "callers"  #: those without one too, since an app may be public; a wrong key is still refused
    ANYBODY = "anybody"  #: no key is looked at: the URL itself is the right, or there is nothing to hide


class Authenticator(Protocol):
    """Says whose a key is; ``Platform`` does."""

    async def authenticate(self, key: str | None) -> Caller:
        """Whose key this is; without one, nobody in particular."""


@dataclass(frozen=True)
class Guard:
    """Makes routes that ask who calls."""

    authenticator: Authenticator

    def route(self, path: str, endpoint: Endpoint, *methods: str, admits: Admits = Admits.KEYS) -> Route:
        """A route whose endpoint is given the caller."""
        return Route(path, GuardedEndpoint(self.authenticator, endpoint, admits), methods=methods)


@dataclass(frozen=True)
class GuardedEndpoint:
    """An ASGI application that finds out who calls, and answers with what its endpoint gives."""

    authenticator: Authenticator
    endpoint: Endpoint
    admits: Admits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive, send)
        caller = _NOBODY
        if self.admits is not Admits.ANYBODY:
            caller = await self.authenticator.authenticate(key_of(request))
            if caller.key is None and self.admits is Admits.KEYS:
                raise Unauthenticated("this needs an API key")
            scope["drivetrain.caller"] = caller.id  # for the log
        response = await self.endpoint(request, caller)
        await response(scope, receive, send)


def key_of(request: Request) -> str | None:
    """The API key that came with a request, if any.

    Raises:
        Unauthenticated: The header is of another kind.
    """
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, key = header.partition(" ")
    if scheme.lower() not in _SCHEMES or not key.strip():
        raise Unauthenticated(f"the Authorization header is of a kind not known here: '{scheme[:20]}'")
    return key.strip()
