"""Names of images: ``registry/repository:tag@digest``, with what Docker leaves out filled in."""

from __future__ import annotations

import ipaddress
import re

import msgspec

from drivetrain.images.descriptor import is_digest
from drivetrain.model.errors import Misuse

DEFAULT_TAG = "latest"
DOCKER_HUB = "docker.io"

_HOST = re.compile(r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_LONGEST_PATH = 255


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """A name of an image, complete.

    Attributes:
        registry: Host, with its port if there is one.
        repository: Path on that host.
        tag: A name that may come to mean another image.
        digest: The image itself; counts more than the tag.
    """

    registry: str
    repository: str
    tag: str = DEFAULT_TAG
    digest: str | None = None

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}"

    @property
    def target(self) -> str:
        """What to ask the registry for: the digest, else the tag."""
        return self.digest or self.tag

    @property
    def host(self) -> str:
        """Where the registry's API is."""
        return "registry-1.docker.io" if self.registry == DOCKER_HUB else self.registry

    @property
    def is_local(self) -> bool:
        """Whether the registry is on this machine, so that plain HTTP leaks nothing."""
        return is_loopback(self.registry)

    def with_digest(self, digest: str) -> Reference:
        """The same, pinned."""
        return msgspec.structs.replace(self, digest=digest)

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"


def parse_reference(text: str) -> Reference:
    """Read a name as people write it.

    Raises:
        Misuse: It is none; says which part is wrong.
    """
    rest, at, digest = text.strip().partition("@")
    if at and not is_digest(digest):
        raise _wrong(text, "its digest is not 'sha256:' and 64 hexadecimal digits")
    first, slash, remainder = rest.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, path = first, remainder
    else:
        registry, path = DOCKER_HUB, rest
    path, colon, tag = path.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _wrong(text, f"'{tag}' is not a tag")
    if not _HOST.fullmatch(registry):
        raise _wrong(text, f"'{registry}' is not a registry's host")
    if path != path.lower():
        raise _wrong(text, "capital letters are not allowed in it")
    if not _PATH.fullmatch(path) or len(path) > _LONGEST_PATH:
        raise _wrong(text, f"'{path}' is not a repository")
    registry = DOCKER_HUB if registry in ("index.docker.io", "registry-1.docker.io") else registry
    if registry == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    return Reference(registry=registry, repository=path, tag=tag or DEFAULT_TAG, digest=digest or None)


def is_loopback(registry: str) -> bool:
    """Whether a host, with or without a port, is this machine."""
    host = re.sub(r":[0-9]+$", "", registry).strip("[]")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _wrong(text: str, why: str) -> Misuse:
    return Misuse(f"'{text}' is not the name of an image: {why}", hint="write it like registry.example.com/owner/name:tag")
