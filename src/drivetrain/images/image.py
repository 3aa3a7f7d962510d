"""An image as a value: its config and its manifest. Every change makes a new one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from drivetrain.images.descriptor import CONFIG, INDEX, INDEXES, MANIFEST, Descriptor, Platform, descriptor_from
from drivetrain.images.digest import digest_of
from drivetrain.images.errors import Damaged

#: Where the base of an image came from; a registry that has it need not be sent its layers.
BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """A layer.

    Attributes:
        descriptor: Of the bytes as they are stored and sent.
        diff_id: Digest of the archive before it was compressed.
        made_by: What the layer holds, in a few words; shown by every tool as the layer's history.
    """

    descriptor: Descriptor
    diff_id: str
    made_by: str


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image for one platform.

    Attributes:
        config: The config document: architecture, process settings, layers, history.
        layers: Descriptors of the layers, the lowest first.
        annotations: Of the manifest.
    """

    config: Mapping[str, Any]
    layers: tuple[Descriptor, ...] = ()
    annotations: Mapping[str, str] = {}

    @property
    def platform(self) -> Platform:
        """What it runs on."""
        return Platform(
            os=str(self.config.get("os", "linux")),
            architecture=str(self.config.get("architecture", "amd64")),
            variant=self.config.get("variant") or None,
        )

    @property
    def settings(self) -> Mapping[str, Any]:
        """How a container of it is run."""
        return self.config.get("config") or {}

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        return self.settings.get("Labels") or {}

    @property
    def variables(self) -> Mapping[str, str]:
        """Its environment variables."""
        pairs = (item.partition("=") for item in self.settings.get("Env") or ())
        return {name: value for name, _, value in pairs}

    @property
    def diff_ids(self) -> Sequence[str]:
        """Digests of the layers before compression."""
        return tuple((self.config.get("rootfs") or {}).get("diff_ids") or ())

    @property
    def steps(self) -> Sequence[str]:
        """What it was made by, as its history says."""
        return tuple(str(step.get("created_by") or "") for step in self.config.get("history") or ())

    def with_layers(self, layers: Sequence[Layer], *, created: str) -> Image:
        """With more layers on top."""
        history = [*(self.config.get("history") or ()), *({"created": created, "created_by": one.made_by} for one in layers)]
        diff_ids = [*self.diff_ids, *(one.diff_id for one in layers)]
        config = {**self.config, "created": created, "history": history, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
        return msgspec.structs.replace(self, config=config, layers=(*self.layers, *(one.descriptor for one in layers)))

    def with_settings(self, **settings: Any) -> Image:
        """With other process settings, by the names that the config document has for them."""
        return msgspec.structs.replace(self, config={**self.config, "config": {**self.settings, **settings}})

    def with_annotations(self, annotations: Mapping[str, str]) -> Image:
        """With more annotations."""
        return msgspec.structs.replace(self, annotations={**self.annotations, **annotations})

    def config_bytes(self) -> bytes:
        """The config document; the same for the same image."""
        return to_bytes(self.config)

    @property
    def config_descriptor(self) -> Descriptor:
        """Of the config document."""
        content = self.config_bytes()
        return Descriptor(media_type=CONFIG, digest=digest_of(content), size=len(content))

    def manifest_bytes(self) -> bytes:
        """The manifest; the same for the same image."""
        return to_bytes(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": self.config_descriptor.to_json(),
                "layers": [layer.to_json() for layer in self.layers],
                **({"annotations": dict(sorted(self.annotations.items()))} if self.annotations else {}),
            }
        )

    @property
    def descriptor(self) -> Descriptor:
        """Of the manifest."""
        content = self.manifest_bytes()
        return Descriptor(media_type=MANIFEST, digest=digest_of(content), size=len(content), platform=self.platform)


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest that somebody wrote, kept byte for byte so that its digest stays.

    Attributes:
        descriptor: Of the manifest itself.
        config: Descriptor of the config document; ``None`` for an index.
        layers: Of an image.
        manifests: Of an index: its images.
        annotations: Notes.
    """

    descriptor: Descriptor
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()
    annotations: Mapping[str, str] = {}

    @property
    def is_index(self) -> bool:
        """Whether it lists images for several platforms."""
        return self.config is None

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """What an image consists of beside its manifest, each once."""
        config = (self.config,) if self.config is not None else ()
        return tuple({blob.digest: blob for blob in (*config, *self.layers)}.values())


def read_manifest(content: bytes, media_type: str | None = None) -> Manifest:
    """Read a manifest or an index.

    Args:
        content: Its bytes.
        media_type: What the registry said it is, where the document does not.

    Raises:
        Damaged: It is neither.
    """
    try:
        document = json.loads(content)
        kind = document.get("mediaType") or media_type or (INDEX if "manifests" in document else MANIFEST)
        descriptor = Descriptor(media_type=kind, digest=digest_of(content), size=len(content))
        annotations = {str(name): str(value) for name, value in (document.get("annotations") or {}).items()}
        if kind in INDEXES:
            manifests = tuple(descriptor_from(one) for one in document["manifests"])
            return Manifest(descriptor=descriptor, manifests=manifests, annotations=annotations)
        if document.get("schemaVersion") == 2:
            layers = tuple(descriptor_from(one) for one in document["layers"])
            config = descriptor_from(document["config"])
            return Manifest(descriptor=descriptor, config=config, layers=layers, annotations=annotations)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        if isinstance(error, Damaged):
            raise
        raise Damaged("a manifest cannot be read") from error
    raise Damaged(
        "the manifest is of a form that has been given up", hint="push the image again with a tool of the last years, and use that"
    )


def index_bytes(manifests: Sequence[Descriptor]) -> bytes:
    """An index of images for several platforms."""
    return to_bytes({"schemaVersion": 2, "mediaType": INDEX, "manifests": [one.to_json() for one in manifests]})


def to_bytes(document: Any) -> bytes:
    """JSON, in the same bytes for the same document."""
    return json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
