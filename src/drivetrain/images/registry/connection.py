"""Requests to registries and to those they send us to: connections that are kept open, redirects, proxies, trust.

It stands on the standard library's client, which is imported in a fraction of the time that others need: most of what a push after
an edit costs is the start of our own process. TLS is set up when a host that speaks it is met, and not before.

Whatever fails on the way is ``Passing``: it may succeed when it is tried again.
"""

from __future__ import annotations

import contextlib
import functools
import json
import select
import threading
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urljoin, urlsplit

import msgspec

from drivetrain.images.errors import Damaged
from drivetrain.images.registry.proxy import proxy_for, proxy_headers
from drivetrain.images.registry.retry import Passing
from drivetrain.model.errors import OutsideFailed

if TYPE_CHECKING:
    import ssl

Body = Callable[[], Iterator[bytes]]

_CONNECT_SECONDS = 15.0
#: For the other side to take some bytes.
_SEND_SECONDS = 60.0
_MOST_REDIRECTS = 10
_BLOCK = 64 * 1024

#: What is left unread of an answer is read, to use the connection again, if it is no more than this.
_WORTH_READING = 64 * 1024

_PORTS = {"http": 80, "https": 443}

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Those after which a request that is more than a question may be repeated as it was.
_REPEATABLE = frozenset({307, 308})


class Response:
    """An answer, of which the head has been read. To be closed.

    Attributes:
        status: Its number.
        headers: By name in lower case; the last of a name.
        url: What answered, after all redirects.
    """

    def __init__(self, raw: HTTPResponse, url: str, release: Callable[[bool], None]) -> None:
        self._raw = raw
        self._release = release
        self._content: bytes | None = None
        self._is_closed = False
        self.status = raw.status
        self.headers = {name.lower(): value for name, value in raw.getheaders()}
        self.url = url

    def all(self, name: str) -> list[str]:
        """Each header of a name."""
        return self._raw.headers.get_all(name) or []

    @property
    def is_success(self) -> bool:
        """Whether it is what was hoped for."""
        return 200 <= self.status < 300

    @property
    def content(self) -> bytes:
        """The body, which ``load`` has read."""
        assert self._content is not None
        return self._content

    def load(self, limit: int) -> None:
        """Read the whole body.

        Raises:
            Damaged: It is larger than the limit.
            Passing: It was cut.
        """
        if self._content is None:
            content = bytearray()
            for block in self.blocks(_BLOCK):
                content += block
                if len(content) > limit:
                    raise Damaged(f"an answer of '{urlsplit(self.url).netloc}' is larger than {limit // 1024 // 1024} MiB")
            self._content = bytes(content)

    def blocks(self, size: int) -> Iterator[bytes]:
        """The body, as it comes.

        Raises:
            Passing: It was cut.
        """
        with _failing_softly():
            while block := self._raw.read(size):
                yield block
        if self._raw.length:
            raise Passing(f"it ended its answer {self._raw.length} bytes early")

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: It is none.
        """
        return json.loads(self.content)

    def close(self) -> None:
        """Give the connection back; or end it, if much of the answer is still to come."""
        if self._is_closed:
            return
        self._is_closed = True
        with contextlib.suppress(OSError, HTTPException):
            if self._raw.length is not None and self._raw.length <= _WORTH_READING:
                self._raw.read()
        self._release(self._raw.isclosed() and not self._raw.will_close)

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask.

    Attributes:
        method: The method.
        url: Where.
        headers: All of them, but for the host.
        body: Called for its blocks each time it is sent; the headers tell its length.
        patience_seconds: How long to wait for the next bytes of the answer.
    """

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: Body | None = None
    patience_seconds: float = 60.0


class Connections:
    """Connections to any number of hosts. Threads may share them.

    Args:
        environ: Read for ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``, ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``.
        insecure: Whether to take certificates that nobody vouches for.
    """

    def __init__(self, environ: Mapping[str, str], *, insecure: bool) -> None:
        self._environ = environ
        self._insecure = insecure
        self._idle: dict[tuple[str, str], list[HTTPConnection]] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close those that are open and not in use."""
        with self._lock:
            for connection in (one for idle in self._idle.values() for one in idle):
                connection.close()
            self._idle.clear()

    def send(self, request: Request) -> Response:
        """Ask, and follow where the answer leads. Only the host that was asked first sees the ``Authorization`` header.

        Raises:
            Passing: No answer came, or it leads round in circles.
        """
        url, headers = request.url, dict(request.headers)
        for _ in range(_MOST_REDIRECTS):
            response = self._ask(request, url, headers)
            target = response.headers.get("location")
            if target is None or response.status not in _REDIRECTS:
                return response
            if request.method not in ("GET", "HEAD") and response.status not in _REPEATABLE:
                return response
            response.close()
            following = joined(url, target)
            if _origin(following) != _origin(url):
                headers.pop("Authorization", None)
            url = following
        raise Passing("it redirects without end")

    def _ask(self, request: Request, url: str, headers: Mapping[str, str]) -> Response:
        parts = _parsed(url)
        origin = (parts.scheme, parts.netloc)
        proxy = proxy_for(parts, self._environ)
        target = parts._replace(fragment="")
        if proxy is None or parts.scheme == "https":
            target = target._replace(scheme="", netloc="", path=parts.path or "/")
        else:
            headers = {**headers, **proxy_headers(proxy)}
        connection = self._taken(origin) or self._opened(parts, proxy)
        try:
            is_sent = _send(connection, request, target.geturl(), headers)
            raw = _answer(connection, request.patience_seconds)
        except BaseException:
            connection.close()
            raise
        return Response(raw, url, lambda is_usable: self._give_back(origin, connection, is_usable=is_usable and is_sent))

    def _taken(self, origin: tuple[str, str]) -> HTTPConnection | None:
        """An open connection to a host that has nothing to say: one that has is one that the host has closed."""
        while True:
            with self._lock:
                idle = self._idle.get(origin)
                connection = idle.pop() if idle else None
            if connection is None:
                return None
            if connection.sock is not None and not select.select([connection.sock], [], [], 0)[0]:
                connection.sock.settimeout(_SEND_SECONDS)
                return connection
            connection.close()

    def _give_back(self, origin: tuple[str, str], connection: HTTPConnection, *, is_usable: bool) -> None:
        if not is_usable:
            connection.close()
            return
        with self._lock:
            self._idle.setdefault(origin, []).append(connection)

    def _opened(self, parts: SplitResult, proxy: SplitResult | None) -> HTTPConnection:
        near = proxy if proxy is not None else parts
        assert near.hostname is not None
        connection = self._plain_or_secure(parts.scheme, near.hostname, near.port or _PORTS[near.scheme])
        if proxy is not None and parts.scheme == "https":
            assert parts.hostname is not None
            connection.set_tunnel(parts.hostname, parts.port or _PORTS["https"], proxy_headers(proxy))
        with _failing_softly():
            connection.connect()
            connection.sock.settimeout(_SEND_SECONDS)
        return connection

    def _plain_or_secure(self, scheme: str, host: str, port: int) -> HTTPConnection:
        if scheme == "http":
            return HTTPConnection(host, port, timeout=_CONNECT_SECONDS)
        from http.client import HTTPSConnection

        return HTTPSConnection(host, port, timeout=_CONNECT_SECONDS, context=self._trust())

    def _trust(self) -> ssl.SSLContext:
        return _trust(self._environ.get("SSL_CERT_FILE"), self._environ.get("SSL_CERT_DIR"), insecure=self._insecure)


def joined(url: str, target: str) -> str:
    """Where a registry leads from a URL, by a URL or a path.

    Raises:
        OutsideFailed: It is no URL.
    """
    try:
        return urljoin(url, target)
    except ValueError as error:
        raise _nowhere(target) from error


@functools.cache
def _trust(file: str | None, directory: str | None, *, insecure: bool) -> ssl.SSLContext:
    """Whom to trust: read once, since it takes longer than a request to a registry near by.

    Args:
        file: Holds certificates.
        directory: Holds them where there is no file; with neither it is those that everybody trusts.
        insecure: Whether to trust everybody.

    Raises:
        OutsideFailed: There are no certificates where they should be.
    """
    import ssl

    if insecure:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if file or directory:
        try:
            return ssl.create_default_context(cafile=file, capath=None if file else directory)
        except OSError as error:
            name = "SSL_CERT_FILE" if file else "SSL_CERT_DIR"
            raise OutsideFailed(f"the certificates that {name} names cannot be read: '{file or directory}': {error}") from error
    import certifi

    return ssl.create_default_context(cafile=certifi.where())


def _send(connection: HTTPConnection, request: Request, target: str, headers: Mapping[str, str]) -> bool:
    """Send it; whether all of it went out. Who does not want the rest says why in an answer, which can be read."""
    with _failing_softly():
        connection.putrequest(request.method, target)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
    for block in request.body() if request.body is not None else ():
        try:
            with _failing_softly():
                connection.send(block)
        except _Refused:
            return False
    return True


def _answer(connection: HTTPConnection, patience_seconds: float) -> HTTPResponse:
    with _failing_softly():
        connection.sock.settimeout(patience_seconds)
        return connection.getresponse()


def _parsed(url: str) -> SplitResult:
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in _PORTS and parts.hostname and parts.port != 0:
            return parts
    raise _nowhere(url)


def _nowhere(url: str) -> OutsideFailed:
    return OutsideFailed(f"a registry leads to '{url[:200]}', where nobody can be asked")


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = _parsed(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


@contextlib.contextmanager
def _failing_softly() -> Iterator[None]:
    try:
        yield
    except (OSError, HTTPException) as error:
        kind = _Refused if isinstance(error, (BrokenPipeError, ConnectionResetError)) else Passing
        raise kind(str(error) or type(error).__name__) from error


class _Refused(Passing):
    """The other side takes no more."""
