"""One registry: ask for manifests and content, send them.

Every request is tried again when what failed may pass. Content is streamed from and to disk. What a registry sends is believed only
after its digest has been compared.
"""

from __future__ import annotations

import contextlib
import functools
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from drivetrain.images.descriptor import INDEXES, MANIFESTS, Descriptor
from drivetrain.images.digest import digest_of
from drivetrain.images.errors import AccessDenied, Damaged, ImageNotFound
from drivetrain.images.image import Manifest, read_manifest
from drivetrain.images.reference import Reference, is_loopback
from drivetrain.images.registry.authentication import Authenticator
from drivetrain.images.registry.credentials import CredentialStore
from drivetrain.images.registry.retry import Exhausted, Passing, RetryPolicy, is_passing, retrying
from drivetrain.model.errors import BadRequest, DrivetrainError, OutsideFailed

#: A manifest is a list of layers. The largest in the wild have some hundred kilobytes.
_LARGEST_MANIFEST = 8 * 1024 * 1024

_TIMEOUT = httpx.Timeout(60.0, connect=15.0)
#: At the end of an upload a registry may have to read all of it again.
_PATIENT = httpx.Timeout(60.0, connect=15.0, read=900.0)


@dataclass(frozen=True, kw_only=True)
class RegistryOptions:
    """How to talk to registries.

    Attributes:
        insecure: Whether to take plain HTTP, or a certificate that nobody vouches for, from any host; from this machine HTTP is
            taken always.
        connections: How many requests at once.
        chunk_bytes: Size of the pieces that large content is sent in.
        monolithic_bytes: Content up to this size is sent in one piece.
        retry: How patient to be.
    """

    insecure: bool = False
    connections: int = 5
    chunk_bytes: int = 96 * 1024 * 1024
    monolithic_bytes: int = 16 * 1024 * 1024
    retry: RetryPolicy = field(default_factory=RetryPolicy)


class Registry:
    """A registry.

    Args:
        reference: Any image in it.
        credentials: Where the user's credentials are.
        options: How to talk to it.
    """

    def __init__(self, reference: Reference, credentials: CredentialStore, options: RegistryOptions) -> None:
        self.name = reference.registry
        self.options = options
        self._credentials = credentials
        self._host = reference.host
        self._client = httpx.Client(
            timeout=_TIMEOUT,
            follow_redirects=True,  # to where the content is; httpx does not send our credentials to another host
            verify=_trust(insecure=options.insecure),
            limits=httpx.Limits(max_connections=2 * options.connections, max_keepalive_connections=2 * options.connections),
            headers={"User-Agent": "drivetrain"},
        )
        self._authenticator: Authenticator | None = None
        self._base: httpx.URL | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check(self, actions: str = "") -> None:
        """See whether the registry is there and knows the user.

        Raises:
            AccessDenied: It refuses the user.
            OutsideFailed: It cannot be reached.
        """
        with self.request("GET", "/v2/", scope=actions) as response:
            if not response.is_success:
                raise self.failure(response, f"the registry '{self.name}'")

    def manifest(self, reference: Reference) -> tuple[Manifest, bytes]:
        """The manifest or index of an image, and its bytes.

        Raises:
            ImageNotFound: There is none.
            Damaged: It is not what its digest says.
        """
        what = f"the image '{reference}'"
        accept = ", ".join((*INDEXES, *MANIFESTS))
        path = f"/v2/{reference.repository}/manifests/{reference.target}"
        with self.request("GET", path, scope=pull_scope(reference), headers={"Accept": accept}) as response:
            if not response.is_success:
                raise self.failure(response, what)
            content = _read_limited(response, _LARGEST_MANIFEST)
            media_type = response.headers.get("content-type", "").partition(";")[0].strip()
        promised = reference.digest or response.headers.get("docker-content-digest")
        if promised and promised != digest_of(content):
            raise Damaged(f"{what} arrived damaged: its manifest has the digest '{digest_of(content)}'", hint="try again")
        return read_manifest(content, media_type or None), content

    def digest(self, reference: Reference) -> str | None:
        """The digest that a name means now; ``None`` where there is no such image or the registry does not say."""
        accept = ", ".join((*INDEXES, *MANIFESTS))
        path = f"/v2/{reference.repository}/manifests/{reference.target}"
        with self.request("HEAD", path, scope=pull_scope(reference), headers={"Accept": accept}) as response:
            if response.status_code == httpx.codes.NOT_FOUND:
                return None
            if not response.is_success:
                raise self.failure(response, f"the image '{reference}'")
            return str(response.headers.get("docker-content-digest") or "") or None

    def put_manifest(self, reference: Reference, content: bytes, media_type: str) -> None:
        """Send a manifest, whose content must be there already.

        Args:
            reference: Where to; by its tag, or by its digest if it has one.
            content: The manifest.
            media_type: What it is.
        """
        path = f"/v2/{reference.repository}/manifests/{reference.target}"
        headers = {"Content-Type": media_type}
        with self.request("PUT", path, scope=push_scope(reference), headers=headers, content=content) as response:
            if not response.is_success:
                raise self.failure(response, f"the image '{reference}'")

    def has_blob(self, reference: Reference, descriptor: Descriptor, *, scope: str | None = None) -> bool:
        """Whether the registry has some content in a repository."""
        path = f"/v2/{reference.repository}/blobs/{descriptor.digest}"
        with self.request("HEAD", path, scope=scope or pull_scope(reference)) as response:
            if response.status_code == httpx.codes.NOT_FOUND:
                return False
            if not response.is_success:
                raise self.failure(response, f"'{reference.name}'")
            return True

    @contextlib.contextmanager
    def blob(self, reference: Reference, descriptor: Descriptor, offset: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Content from an offset on: where it really begins, and its bytes."""
        headers = {"Range": f"bytes={offset}-", "Accept-Encoding": "identity"} if offset else {"Accept-Encoding": "identity"}
        path = f"/v2/{reference.repository}/blobs/{descriptor.digest}"
        with self.request("GET", path, scope=pull_scope(reference), headers=headers) as response:
            if not response.is_success:
                raise self.failure(response, f"the content '{descriptor.digest}' of '{reference.name}'")
            begins = offset if response.status_code == httpx.codes.PARTIAL_CONTENT else 0
            yield begins, response.iter_raw(256 * 1024)

    @contextlib.contextmanager
    def request(
        self,
        method: str,
        path: str,
        *,
        scope: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | Callable[[], Iterator[bytes]] | None = None,
        again: bool = True,
    ) -> Iterator[httpx.Response]:
        """Send a request and hand out the answer, of which only the head has been read.

        Args:
            method: The method.
            path: Path on the registry, or a whole URL that it gave.
            scope: What a token must be good for.
            headers: Beside those of every request.
            content: The body; a function is called for a new iterator at each attempt.
            again: Whether to try again when something failed that may pass.

        Raises:
            OutsideFailed: The registry cannot be reached, or goes on to fail.
            Passing: It failed, and ``again`` is false.
        """
        send = _Sending(method, path, scope, headers or {}, content)
        if not again:
            response = self._send(send)
        else:
            try:
                response = retrying(self.options.retry, lambda: self._send(send))
            except Exhausted as error:
                raise self.unreachable(error) from error
        try:
            yield response
        finally:
            response.close()

    def unreachable(self, error: Exhausted) -> OutsideFailed:
        """The error for a registry that goes on to fail."""
        times = f" ({error.attempts} attempts)" if error.attempts > 1 else ""
        return OutsideFailed(
            f"the registry '{self.name}' cannot be used: {error.why}{times}",
            hint="check its name and the network; --insecure takes plain HTTP from hosts other than this one",
        )

    def failure(self, response: httpx.Response, what: str) -> DrivetrainError:
        """The error for an answer that is no success."""
        with contextlib.suppress(httpx.HTTPError):
            response.read()
        status, said = response.status_code, _said(response)
        if status == httpx.codes.NOT_FOUND:
            return ImageNotFound(f"{what} is not there{said}", hint=f"the registry is '{self.name}'; check the name and the tag")
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return AccessDenied(f"the registry '{self.name}' refuses access to {what}{said}", hint=f"drivetrain login {self.name}")
        if status == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
            return BadRequest(f"the registry '{self.name}' takes no content that large{said}")
        return OutsideFailed(f"the registry '{self.name}' answered {status} about {what}{said}")

    def _send(self, send: _Sending) -> httpx.Response:
        base = self._found_base()
        authenticator = self._authenticated()
        url = base.join(send.path)
        is_ours = (url.scheme, url.host, url.port) == (base.scheme, base.host, base.port)
        header = authenticator.header(send.scope) if is_ours else None
        for last in (False, False, True):
            timeout = _PATIENT if send.method == "PUT" else _TIMEOUT
            headers = send.headers_with(header)
            request = self._client.build_request(send.method, url, headers=headers, content=send.body(), timeout=timeout)
            response = self._client.send(request, stream=True)
            if response.status_code != httpx.codes.UNAUTHORIZED or last or not is_ours:
                break
            with contextlib.closing(response):
                new = authenticator.answer(response, send.scope, header)
                if new is None:
                    response.read()
                    break
                header = new
        if is_passing(response.status_code):
            with contextlib.closing(response):
                raise Passing(f"it answered {response.status_code}", dict(response.headers))
        return response

    def _found_base(self) -> httpx.URL:
        """HTTPS; or plain HTTP, where that leaks nothing or is allowed, and nobody answers with HTTPS."""
        with self._lock:
            if self._base is None:
                self._base = self._look_for_base()
            return self._base

    def _look_for_base(self) -> httpx.URL:
        secure = httpx.URL(f"https://{self._host}")
        if not (self.options.insecure or is_loopback(self.name)):
            return secure
        try:
            self._client.get(secure.join("/v2/"), timeout=5)
        except httpx.TransportError:
            return httpx.URL(f"http://{self._host}")
        return secure

    def _authenticated(self) -> Authenticator:
        with self._lock:
            if self._authenticator is None:
                self._authenticator = Authenticator(self.name, self._credentials.find(self.name), self._client)
            return self._authenticator


@functools.cache
def _trust(*, insecure: bool) -> ssl.SSLContext:
    """Whom to trust: read once, since it takes longer than a request to a registry near by."""
    return httpx.create_ssl_context(verify=not insecure)


@dataclass(frozen=True)
class _Sending:
    method: str
    path: str
    scope: str
    headers: Mapping[str, str]
    content: bytes | Callable[[], Iterator[bytes]] | None

    def body(self) -> bytes | Iterator[bytes] | None:
        return self.content() if callable(self.content) else self.content

    def headers_with(self, authorization: str | None) -> dict[str, str]:
        return {**self.headers, **({"Authorization": authorization} if authorization else {})}


def pull_scope(reference: Reference) -> str:
    """What a token must be good for to read a repository."""
    return f"repository:{reference.repository}:pull"


def push_scope(reference: Reference) -> str:
    """What a token must be good for to write to a repository."""
    return f"repository:{reference.repository}:pull,push"


def _read_limited(response: httpx.Response, limit: int) -> bytes:
    content = bytearray()
    for block in response.iter_bytes():
        content += block
        if len(content) > limit:
            raise Damaged(f"a manifest is larger than {limit // 1024 // 1024} MiB")
    return bytes(content)


def _said(response: httpx.Response) -> str:
    """What a registry says went wrong, in a form of its own."""
    with contextlib.suppress(ValueError, TypeError, LookupError, AttributeError, httpx.ResponseNotRead):
        document: Any = response.json()
        first = document["errors"][0]
        return f": {str(first.get('message') or first.get('code'))[:300]}"
    return ""
