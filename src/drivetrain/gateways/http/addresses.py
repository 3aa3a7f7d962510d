"""Where we are on the web: absolute URLs in answers, and our own URLs recognised in requests.

The origin is what the owner says (``public_url``); else what a trusted proxy says the client asked for; else the address that the
connection came in on. What a client puts into its Host header is never believed.
"""

from __future__ import annotations

import ipaddress
import urllib.parse
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Protocol, TypeAlias

from starlette.requests import Request

from drivetrain.model.errors import BadRequest
from drivetrain.platform.files import FileId, replace_references

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Expiries are rounded up to this, so that an answer that is asked for again has the same URLs and caches can work.
_EXPIRY_STEP = timedelta(minutes=10)

FILES_PATH = "/files"


class UrlSigner(Protocol):
    """Signs paths for a limited time."""

    def sign(self, path: str, expires_at: datetime) -> str:
        """The query that makes the path a right to read it: ``expires=…&signature=…``."""

    def verify(self, path: str, query: str, now: datetime) -> bool:
        """Whether such a query is right and has not expired."""


class FileUrlExpired(BadRequest):
    """A URL of ours in an input was good once."""

    code = "file_url_expired"

    def __init__(self, url: str) -> None:
        super().__init__(f"the URL '{url[:200]}' has expired, or its signature is wrong", hint="upload the file again")


class Addresses:
    """Makes and recognises the platform's URLs.

    Args:
        public_url: What clients call the platform, without a slash at its end; ``None`` finds it out.
        listening_url: What this machine calls it.
        trusted_proxies: Networks whose ``X-Forwarded-Host`` and ``X-Forwarded-Proto`` are believed.
        signer: Signs file URLs.
        lifetime: How long file URLs are good for.
    """

    def __init__(
        self,
        *,
        public_url: str | None,
        listening_url: str,
        trusted_proxies: Sequence[_Network] = (),
        signer: UrlSigner,
        now: Callable[[], datetime],
        lifetime: timedelta = timedelta(hours=24),
    ) -> None:
        self._public_url = public_url.rstrip("/") if public_url else None
        self._listening_url = listening_url.rstrip("/")
        self._trusted = tuple(trusted_proxies)
        self._signer = signer
        self._now = now
        self._lifetime = lifetime

    @property
    def default_origin(self) -> str:
        """The origin where no request says it, as in webhooks."""
        return self._public_url or self._listening_url

    def origin(self, request: Request) -> str:
        """The origin that a client should use, without a slash at its end."""
        if self._public_url is not None:
            return self._public_url
        if self._trusted and self._is_trusted(request) and (forwarded := _forwarded_origin(request)):
            return forwarded
        server = request.scope.get("server")
        if server is None or server[1] is None:  # a Unix socket
            return self._listening_url
        host, port = server
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def client_address(self, request: Request) -> str:
        """Who is on the other end, for the log; behind a trusted proxy, whom that names."""
        if self._trusted and self._is_trusted(request) and (forwarded := request.headers.get("x-forwarded-for")):
            return forwarded.rpartition(",")[2].strip()[:64]
        return request.client.host if request.client is not None else "local"

    def file_url(self, origin: str, file_id: FileId, name: str) -> str:
        """A URL at which everybody who has it may read a file, for a while."""
        return self.signed_url(origin, f"{FILES_PATH}/{file_id}/{urllib.parse.quote(name)}")

    def signed_url(self, origin: str, path: str) -> str:
        """A URL that is itself the right to what it leads to, for a while; see ``is_signed``.

        Args:
            path: As it stands in a URL, quoted.
        """
        return f"{origin}{path}?{self._signer.sign(path, self._expiry())}"

    def with_file_urls(self, origin: str, value: Any) -> Any:
        """A JSON value with URLs instead of file references."""
        return replace_references(value, lambda file_id, name: self.file_url(origin, file_id, name))

    def own_file(self, url: str) -> FileId | None:
        """Which file of ours a URL means. Its signature says that it is ours, whatever name we are called by.

        Raises:
            FileUrlExpired: It is one of ours, and not good any more.
        """
        if FILES_PATH not in url or "signature=" not in url:
            return None
        try:
            parts = urllib.parse.urlsplit(url)
        except ValueError:
            return None
        names = parts.path.split("/")
        if len(names) != 4 or f"/{names[1]}" != FILES_PATH:
            return None
        if self._signer.verify(parts.path, parts.query, self._now()):
            return FileId(names[2])
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin in (self._public_url, self._listening_url):
            raise FileUrlExpired(url)
        return None

    def is_signed(self, request: Request) -> bool:
        """Whether a request's URL is one that we signed and has not expired."""
        # The path as it came: that is what was signed, and a name may hold quoted slashes.
        path = request.scope["raw_path"].decode("ascii", "replace")
        return self._signer.verify(path, request.scope["query_string"].decode("ascii", "replace"), self._now())

    def _expiry(self) -> datetime:
        step = _EXPIRY_STEP.total_seconds()
        seconds = (self._now() + self._lifetime).timestamp()
        return datetime.fromtimestamp((seconds // step + 1) * step, timezone.utc)

    def _is_trusted(self, request: Request) -> bool:
        if request.client is None:
            return False
        try:
            address = ipaddress.ip_address(request.client.host)
        except ValueError:
            return False
        return any(address in network for network in self._trusted)


def _forwarded_origin(request: Request) -> str | None:
    """What a proxy says that the client asked for; the last of several is the nearest proxy's."""
    host = (request.headers.get("x-forwarded-host") or request.headers.get("host", "")).rpartition(",")[2].strip()
    scheme = request.headers.get("x-forwarded-proto", "http").rpartition(",")[2].strip().lower()
    if scheme not in ("http", "https") or not host or any(letter in host for letter in "/@\\?# \"'<>"):
        return None
    return f"{scheme}://{host}"
