"""One application for all gateways: gives each request to the gateway whose path it is, and does what all of them need.

Every answer gets a request id, the headers that keep browsers from misusing it, and a line in the log; every error becomes an
answer in the gateway's own form.
"""

from __future__ import annotations

import re
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Router
from starlette.types import Message, Receive, Scope, Send

from drivetrain.gateways.http.refusal import Refused
from drivetrain.gateways.http.statistics import HttpStatistics
from drivetrain.model.errors import DrivetrainError, InternalError
from drivetrain.platform.webhooks import Render

_REQUEST_ID = re.compile(r"[A-Za-z0-9._~+/=-]{1,128}", re.ASCII)

#: Answers must not be guessed to be something else, kept by anybody on the way, or tell other sites where a reader came from.
_HEADERS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))
_NO_STORE = (b"cache-control", b"no-store")


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """One client protocol.

    Attributes:
        name: In metrics, and for rendering webhooks.
        prefixes: Paths below which it answers; the longest one counts. The empty one takes what nobody else does.
        routes: Made by ``Guard``.
        render_error: Makes an answer of an error, its status and headers included; see ``refusal``.
        render_webhook: Makes the bodies of its webhooks, if it takes orders for any.
        is_logged: Whether its requests get a line in the log.
    """

    name: str
    prefixes: Sequence[str]
    routes: Sequence[BaseRoute]
    render_error: Callable[[DrivetrainError], Response]
    render_webhook: Render | None = None
    is_logged: bool = True


@dataclass(frozen=True, kw_only=True)
class AccessLine:
    """One request that has been answered.

    Attributes:
        path: As it came, still quoted: unquoted, it could hold a second line, or what moves a terminal's cursor.
        status: 499 where the client did not wait for the answer.
        caller: Id of the key; empty without one.
        seconds: Until the last byte was handed over.
    """

    gateway: str
    method: str
    path: str
    status: int
    seconds: float
    caller: str
    client: str
    request_id: str


@dataclass(frozen=True, kw_only=True)
class ShellHooks:
    """Whom the shell tells.

    Attributes:
        access: Of each request that a logged gateway has answered.
        bug: Of an error of ours, with where it happened.
    """

    access: Callable[[AccessLine], None] = lambda _line: None
    bug: Callable[[str, str], None] = lambda _sentence, _traceback: None


class Shell:
    """An ASGI application.

    Args:
        gateways: The first one says that there is nothing at an address that is nobody's.
        cors_origin: Origin of web pages that may call from a browser; ``*`` is every one.
        client_of: Who is on the other end.
    """

    def __init__(
        self,
        gateways: Sequence[Gateway],
        *,
        cors_origin: str | None = None,
        client_of: Callable[[Request], str] = lambda request: request.client.host if request.client else "local",
        hooks: ShellHooks | None = None,
    ) -> None:
        self.statistics = HttpStatistics()
        self._default = gateways[0]
        self._rooms = sorted(
            (
                (prefix, gateway, Router(list(gateway.routes), redirect_slashes=False))
                for gateway in gateways
                for prefix in gateway.prefixes
            ),
            key=lambda room: -len(room[0]),
        )
        self._cors = _cors_headers(cors_origin)
        self._client_of = client_of
        self._hooks = hooks or ShellHooks()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        gateway, router = self._room(scope["path"])
        request_id = _request_id(scope)
        scope["app"] = self
        scope["drivetrain.request_id"] = request_id
        status = 0
        extra = (*_HEADERS, (b"x-request-id", request_id.encode()), *self._cors)

        async def respond(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message["headers"]
                if not any(name == b"cache-control" for name, _ in headers):
                    headers = [*headers, _NO_STORE]
                message = {**message, "headers": [*headers, *extra]}
            await send(message)

        try:
            if self._cors and scope["method"] == "OPTIONS":
                await Response(status_code=204)(scope, receive, respond)
            else:
                await router(scope, receive, respond)
        except ClientDisconnect:
            status = 499
        except Exception as error:
            if status:  # the answer has begun: cutting it off is all that can still be said
                self._tell_bug(error)
                raise
            await gateway.render_error(self._described(error))(scope, receive, respond)
        finally:
            self._note(scope, gateway, status or 499, time.perf_counter() - began, request_id)

    def _room(self, path: str) -> tuple[Gateway, Router]:
        for prefix, gateway, router in self._rooms:
            if path.startswith(prefix) and (not prefix or path[len(prefix) : len(prefix) + 1] in ("", "/")):
                return gateway, router
        return self._default, _NOTHING

    def _described(self, error: Exception) -> DrivetrainError:
        if isinstance(error, HTTPException):
            sentences = {404: "there is nothing at this address", 405: "this address does not take this method"}
            return Refused(error.status_code, sentences.get(error.status_code, error.detail), headers=error.headers)
        if isinstance(error, DrivetrainError):
            if isinstance(error, InternalError):
                self._tell_bug(error)
            return error
        self._tell_bug(error)
        return InternalError("the platform met a bug of its own; its log says more")

    def _tell_bug(self, error: Exception) -> None:
        text = "".join(traceback.format_exception(error))
        self._hooks.bug(f"{type(error).__name__}: {error}", text)

    def _note(self, scope: Scope, gateway: Gateway, status: int, seconds: float, request_id: str) -> None:
        self.statistics.add(gateway.name, scope["method"], status, seconds)
        if gateway.is_logged:
            line = AccessLine(
                gateway=gateway.name,
                method=scope["method"],
                path=scope["raw_path"].decode("ascii", "replace"),
                status=status,
                seconds=seconds,
                caller=scope.get("drivetrain.caller", ""),
                client=self._client_of(Request(scope)),
                request_id=request_id,
            )
            self._hooks.access(line)


_NOTHING = Router()


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text: str = value.decode("latin-1")
            if _REQUEST_ID.fullmatch(text):
                return text
    return uuid.uuid4().hex


def _cors_headers(origin: str | None) -> tuple[tuple[bytes, bytes], ...]:
    if origin is None:
        return ()
    return (
        (b"access-control-allow-origin", origin.encode("latin-1", "replace")),
        (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE, OPTIONS"),
        (
            b"access-control-allow-headers",
            b"Authorization, Content-Type, Prefer, Accept, Cancel-After, Idempotency-Key, Last-Event-ID, Traceparent, X-Request-Id",
        ),
        (b"access-control-expose-headers", b"Location, Retry-After, X-Request-Id"),
        (b"access-control-max-age", b"3600"),
        (b"vary", b"Origin"),
    )
