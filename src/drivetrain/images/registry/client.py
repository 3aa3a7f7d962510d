"""One registry: ask for manifests and content, send them.

Every request is tried again when what failed may pass. Content is streamed from and to disk. What a registry sends is believed only
after its digest has been compared.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import msgspec

from drivetrain.images.descriptor import INDEXES, MANIFESTS, Descriptor
from drivetrain.images.digest import digest_of
from drivetrain.images.errors import AccessDenied, Damaged, ImageNotFound
from drivetrain.images.image import Manifest, read_manifest
from drivetrain.images.reference import Reference, is_loopback
from drivetrain.images.registry.authentication import Authenticator
from drivetrain.images.registry.connection import Body, Connections, Request, Response, joined
from drivetrain.images.registry.credentials import CredentialStore
from drivetrain.images.registry.retry import Exhausted, Passing, RetryPolicy, is_passing, retrying
from drivetrain.model.errors import BadRequest, DrivetrainError, OutsideFailed

#: What is longest of what is read whole is a manifest, a list of layers. The largest in the wild have some hundred kilobytes.
_LARGEST_ANSWER = 8 * 1024 * 1024

_PATIENCE_SECONDS = 60.0
#: At the end of an upload a registry may have to read all of it again.
_LONG_PATIENCE_SECONDS = 900.0
#: For a question to this machine itself.
_SHORT_PATIENCE_SECONDS = 5.0


class RegistryOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to talk to registries.

    Attributes:
        insecure: Whether to take plain HTTP, or a certificate that nobody vouches for, from any host; from this machine HTTP is
            taken always.
        connections: How many requests at once.
        chunk_bytes: Size of the pieces that large content is sent in.
        monolithic_bytes: Content up to this size is sent in one piece.
        retry: How patient to be.
        environ: Names proxies, and certificates to trust.
    """

    insecure: bool = False
    connections: int = 5
    chunk_bytes: int = 96 * 1024 * 1024
    monolithic_bytes: int = 16 * 1024 * 1024
    retry: RetryPolicy = msgspec.field(default_factory=RetryPolicy)
    environ: Mapping[str, str] = {}


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
        self._connections = Connections(options.environ, insecure=options.insecure)
        self._authenticator: Authenticator | None = None
        self._base: str | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

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
            content = response.content
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
            if response.status == HTTPStatus.NOT_FOUND:
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
            if response.status == HTTPStatus.NOT_FOUND:
                return False
            if not response.is_success:
                raise self.failure(response, f"'{reference.name}'")
            return True

    @contextlib.contextmanager
    def blob(self, reference: Reference, descriptor: Descriptor, offset: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Content from an offset on: where it really begins, and its bytes."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        path = f"/v2/{reference.repository}/blobs/{descriptor.digest}"
        with self.request("GET", path, scope=pull_scope(reference), headers=headers, streams=True) as response:
            if not response.is_success:
                raise self.failure(response, f"the content '{descriptor.digest}' of '{reference.name}'")
            begins = offset if response.status == HTTPStatus.PARTIAL_CONTENT else 0
            yield begins, response.blocks(256 * 1024)

    @contextlib.contextmanager
    def request(
        self,
        method: str,
        path: str,
        *,
        scope: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | Body | None = None,
        again: bool = True,
        streams: bool = False,
    ) -> Iterator[Response]:
        """Send a request and hand out the answer.

        Args:
            method: The method.
            path: Path on the registry, or a whole URL that it gave.
            scope: What a token must be good for.
            headers: Beside those of every request.
            content: The body; a function is called for a new iterator at each attempt.
            again: Whether to try again when something failed that may pass.
            streams: Whether the body of a successful answer is left to be read; else it has been read whole.

        Raises:
            OutsideFailed: The registry cannot be reached, or goes on to fail.
            Passing: It failed, and ``again`` is false.
        """
        send = _Sending(method, path, scope, headers or {}, content)

        def attempt() -> Response:
            return self._send(send, streams=streams)

        if not again:
            response = attempt()
        else:
            try:
                response = retrying(self.options.retry, attempt)
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

    def failure(self, response: Response, what: str) -> DrivetrainError:
        """The error for an answer that is no success."""
        status, said = response.status, _said(response)
        if status == HTTPStatus.NOT_FOUND:
            return ImageNotFound(f"{what} is not there{said}", hint=f"the registry is '{self.name}'; check the name and the tag")
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return AccessDenied(f"the registry '{self.name}' refuses access to {what}{said}", hint=f"drivetrain login {self.name}")
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return BadRequest(f"the registry '{self.name}' takes no content that large{said}")
        return OutsideFailed(f"the registry '{self.name}' answered {status} about {what}{said}")

    def _send(self, send: _Sending, *, streams: bool) -> Response:
        base = self._found_base()
        authenticator = self._authenticated()
        url = joined(base, send.path)
        is_ours = _is_same_host(url, base)
        header = authenticator.header(send.scope) if is_ours else None
        for last in (False, False, True):
            response = self._connections.send(send.request(url, header))
            try:
                if not (streams and response.is_success):
                    response.load(_LARGEST_ANSWER)
                if is_passing(response.status):
                    raise Passing(f"it answered {response.status}", response.headers)
                new = None
                # Where the registry has led us to another host, that one is told nothing of the user.
                if response.status == HTTPStatus.UNAUTHORIZED and is_ours and _is_same_host(response.url, base) and not last:
                    new = authenticator.answer(response, send.scope, header)
            except BaseException:
                response.close()
                raise
            if new is None:
                break
            response.close()
            header = new
        return response

    def _found_base(self) -> str:
        """HTTPS; or plain HTTP, where that leaks nothing or is allowed, and nobody answers with HTTPS."""
        with self._lock:
            if self._base is None:
                self._base = f"{'http' if self._is_plain() else 'https'}://{self._host}"
            return self._base

    def _is_plain(self) -> bool:
        """Whether to speak plain HTTP. Asked without credentials, and of this machine by HTTP first: TLS takes long to set up."""
        if is_loopback(self.name):
            try:
                return self._takes("http")
            except Passing as error:
                if isinstance(error.__cause__, ConnectionRefusedError):
                    return True  # nobody is there
                return not self._takes("https")  # where that fails too, nothing is known, and it is asked again
        if not self.options.insecure:
            return False
        try:
            return not self._takes("https")
        except Passing:
            return True

    def _takes(self, scheme: str) -> bool:
        """Whether the registry speaks this and leads nowhere else."""
        request = Request(method="GET", url=f"{scheme}://{self._host}/v2/", patience_seconds=_SHORT_PATIENCE_SECONDS)
        with self._connections.send(request) as response:
            is_other = scheme == "http" and response.status == HTTPStatus.BAD_REQUEST  # what servers of HTTPS say to plain HTTP
            return not is_other and urlsplit(response.url).scheme == scheme

    def _authenticated(self) -> Authenticator:
        with self._lock:
            if self._authenticator is None:
                self._authenticator = Authenticator(self.name, self._credentials.find(self.name), self._connections)
            return self._authenticator


class _Sending(msgspec.Struct, frozen=True):
    method: str
    path: str
    scope: str
    headers: Mapping[str, str]
    content: bytes | Body | None

    def request(self, url: str, authorization: str | None) -> Request:
        headers = {"User-Agent": "drivetrain", **self.headers}
        content = self.content
        if isinstance(content, bytes):
            headers["Content-Length"] = str(len(content))
        if authorization:
            headers["Authorization"] = authorization
        return Request(
            method=self.method,
            url=url,
            headers=headers,
            body=_once(content) if isinstance(content, bytes) else content,
            patience_seconds=_LONG_PATIENCE_SECONDS if self.method == "PUT" else _PATIENCE_SECONDS,
        )


def _is_same_host(url: str, other: str) -> bool:
    return urlsplit(url)[:2] == urlsplit(other)[:2]


def _once(content: bytes) -> Body:
    return lambda: iter((content,))


def pull_scope(reference: Reference) -> str:
    """What a token must be good for to read a repository."""
    return f"repository:{reference.repository}:pull"


def push_scope(reference: Reference) -> str:
    """What a token must be good for to write to a repository."""
    return f"repository:{reference.repository}:pull,push"


def _said(response: Response) -> str:
    """What a registry says went wrong, in a form of its own."""
    with contextlib.suppress(ValueError, TypeError, LookupError, AttributeError):
        document: Any = response.json()
        first = document["errors"][0]
        return f": {str(first.get('message') or first.get('code'))[:300]}"
    return ""
