"""How one piece of content names another: by type, digest and size."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from drivetrain.images.errors import Damaged
from drivetrain.model.errors import Misuse

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"

#: What we ask registries for: one image, or several for different platforms.
MANIFESTS = (MANIFEST, DOCKER_MANIFEST)
INDEXES = (INDEX, DOCKER_INDEX)

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

#: Docker's media types of the same bytes. Images that we write use OCI's.
_OCI_NAMES = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": f"{LAYER}+gzip",
    "application/vnd.docker.image.rootfs.diff.tar": LAYER,
    "application/vnd.docker.container.image.v1+json": CONFIG,
    DOCKER_MANIFEST: MANIFEST,
    DOCKER_INDEX: INDEX,
}


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """What an image runs on, as Docker names it: ``linux/amd64``, ``linux/arm64/v8``."""

    os: str
    architecture: str
    variant: str | None = None

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))

    def is_satisfied_by(self, other: Platform | None) -> bool:
        """Whether an image for ``other`` runs here; every variant of arm64 does."""
        return other is not None and (other.os, other.architecture) == (self.os, self.architecture)

    def to_json(self) -> dict[str, str]:
        """As it stands in an index."""
        variant = {"variant": self.variant} if self.variant else {}
        return {"architecture": self.architecture, "os": self.os, **variant}


_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def platform_of(text: str) -> Platform:
    """Read ``linux/amd64``, ``amd64`` or what ``uname -m`` says.

    Raises:
        Misuse: It is not one that images are built for.
    """
    parts = text.strip().lower().split("/")
    if len(parts) == 1:
        parts = ["linux", *parts]
    architecture = _ARCHITECTURES.get(parts[1]) if len(parts) in (2, 3) and parts[0] == "linux" else None
    if architecture is None:
        raise Misuse(f"'{text}' is not a platform that images are built for", hint="the choices are linux/amd64 and linux/arm64")
    return Platform(os="linux", architecture=architecture)


class Descriptor(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of content, by what is known of it before it is fetched.

    Attributes:
        media_type: What it is.
        digest: ``sha256:`` and 64 hexadecimal digits.
        size: In bytes.
        platform: For a manifest in an index: what it runs on.
        annotations: Other people's notes.
    """

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = {}

    def to_json(self) -> dict[str, Any]:
        """As it stands in a manifest or index."""
        result: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.platform is not None:
            result["platform"] = self.platform.to_json()
        if self.annotations:
            result["annotations"] = dict(sorted(self.annotations.items()))
        return result


def descriptor_from(document: Any) -> Descriptor:
    """Read a descriptor that somebody else wrote.

    Raises:
        Damaged: It is none.
    """
    try:
        media_type, digest, size = document["mediaType"], document["digest"], document["size"]
        platform, annotations = document.get("platform"), document.get("annotations") or {}
        found = None
        if platform is not None:
            found = Platform(os=platform["os"], architecture=platform["architecture"], variant=platform.get("variant"))
        if isinstance(media_type, str) and isinstance(size, int) and size >= 0 and is_digest(digest):
            return Descriptor(
                media_type=_OCI_NAMES.get(media_type, media_type),
                digest=digest,
                size=size,
                platform=found,
                annotations={str(name): str(value) for name, value in annotations.items()},
            )
    except (TypeError, LookupError, AttributeError):
        pass
    raise Damaged(f"a manifest names content in a way that cannot be read: {str(document)[:200]}")


def is_digest(text: object) -> bool:
    """Whether it is a digest of the one kind that is in use."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None
