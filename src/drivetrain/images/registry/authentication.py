"""Answer a registry's challenge: basic authentication, or a token from the service that the challenge names."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlencode, urlsplit

import msgspec

from drivetrain.images.errors import AccessDenied
from drivetrain.images.registry.connection import Connections, Request, Response
from drivetrain.images.registry.credentials import Credentials
from drivetrain.images.registry.retry import Passing, is_passing
from drivetrain.model.errors import OutsideFailed

_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
_CLIENT = "drivetrain"
_HEADERS = {"User-Agent": _CLIENT}
_LARGEST_TOKEN = 1024 * 1024


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """What a registry wants.

    Attributes:
        scheme: ``basic`` or ``bearer``.
        parameters: ``realm``, ``service``, ``scope``.
    """

    scheme: str
    parameters: Mapping[str, str] = {}


def parse_challenge(header: str) -> Challenge | None:
    """Read a ``WWW-Authenticate`` header; ``None`` if it asks for something we cannot do."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() not in ("basic", "bearer"):
        return None
    parameters = {match[1].lower(): match[2] if match[2] is not None else match[3] for match in _PARAMETER.finditer(rest)}
    return Challenge(scheme=scheme.lower(), parameters=parameters)


class Authenticator:
    """Finds the ``Authorization`` header for requests to one registry. Its threads share the tokens.

    Args:
        registry: The host, for messages.
        credentials: The user; ``None`` for nobody.
        connections: Ask for tokens.
    """

    def __init__(self, registry: str, credentials: Credentials | None, connections: Connections) -> None:
        self._registry = registry
        self._credentials = credentials
        self._connections = connections
        self._headers: dict[str, str] = {}
        self._lock = threading.Lock()

    def header(self, scope: str) -> str | None:
        """The header that was last right for a scope; before the first challenge there is none."""
        return self._headers.get(scope)

    def answer(self, response: Response, scope: str, tried: str | None) -> str | None:
        """A new header after a 401; ``None`` if there is nothing more to try.

        Args:
            response: The 401.
            scope: What the request is about, as in ``repository:owner/name:pull``.
            tried: The header that was refused.

        Raises:
            AccessDenied: The token service refuses these credentials.
        """
        challenges = (parse_challenge(header) for header in response.all("www-authenticate"))
        challenge = next((one for one in challenges if one is not None), None)
        if challenge is None:
            return None
        with self._lock:
            current = self._headers.get(scope)
            if current is not None and current != tried:
                return current  # another thread has been here
            header = self._basic(tried) if challenge.scheme == "basic" else self._bearer(challenge, scope, tried)
            if header is not None:
                self._headers[scope] = header
            return header

    def _basic(self, tried: str | None) -> str | None:
        if self._credentials is None or self._credentials.is_identity_token:
            return None
        return self._credentials.basic if self._credentials.basic != tried else None

    def _bearer(self, challenge: Challenge, scope: str, tried: str | None) -> str | None:
        realm = challenge.parameters.get("realm", "")
        if urlsplit(realm).scheme not in ("http", "https"):
            raise OutsideFailed(f"the registry '{self._registry}' names no token service that can be asked: '{realm[:100]}'")
        response = self._ask(realm, challenge.parameters.get("service", ""), challenge.parameters.get("scope") or scope)
        if response.status in (400, 401, 403):
            raise self._denied(response)
        if is_passing(response.status):
            raise Passing(f"its token service answered {response.status}", response.headers)
        try:
            document = response.json()
            token = document.get("token") or document.get("access_token")
        except (ValueError, AttributeError):
            token = None
        if response.status != HTTPStatus.OK or not isinstance(token, str):
            raise OutsideFailed(f"the token service of '{self._registry}' answered {response.status} without a token")
        header = f"Bearer {token}"
        return header if header != tried else None

    def _ask(self, realm: str, service: str, scope: str) -> Response:
        scopes = scope.split(" ") if scope else []
        if self._credentials is not None and self._credentials.is_identity_token:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": self._credentials.password,
                "service": service,
                "scope": scope,
                "client_id": _CLIENT,
            }
            content = urlencode(form).encode()
            headers = {**_HEADERS, "Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(content))}
            return self._loaded(Request(method="POST", url=realm, headers=headers, body=lambda: iter((content,))))
        pairs = [("service", service)] if service else []
        pairs += [("scope", one) for one in scopes]
        url = f"{realm}{'&' if urlsplit(realm).query else '?'}{urlencode(pairs)}" if pairs else realm
        headers = {**_HEADERS, "Authorization": self._credentials.basic} if self._credentials is not None else _HEADERS
        return self._loaded(Request(method="GET", url=url, headers=headers))

    def _loaded(self, request: Request) -> Response:
        with self._connections.send(request) as response:
            response.load(_LARGEST_TOKEN)
            return response

    def _denied(self, response: Response) -> AccessDenied:
        who = f"the user '{self._credentials.username}'" if self._credentials is not None else "anonymous users"
        return AccessDenied(
            f"the registry '{self._registry}' refuses {who} ({response.status})", hint=f"drivetrain login {self._registry}"
        )
