"""Make layers, and remember which were made from what, so that none is made twice.

What a layer is made from is hashed before it is made; the layer that was made before from the same is taken from the store.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from drivetrain.images.archive import EPOCH, Compression, Entry, write_layer
from drivetrain.images.descriptor import descriptor_from
from drivetrain.images.image import Layer
from drivetrain.images.package import Package
from drivetrain.images.store import ImageStore

#: To be raised when layers of before must not be used any more.
FORMAT = 3


class DirectOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How layers are made.

    Attributes:
        compression: Of the layers.
        uses_cache: Whether to take packages that were resolved before from the same requirements.
        precompiles: Whether to add bytecode, where there is an interpreter of the image's version here.
        strips: Whether to take debugging symbols out of libraries.
        created: When the image was made, for those who ask.
        certificates: Text of certificates to put in.
    """

    compression: Compression = Compression.GZIP
    uses_cache: bool = True
    precompiles: bool = True
    strips: bool = False
    created: str = EPOCH
    certificates: str | None = None


class World(msgspec.Struct, frozen=True, kw_only=True):
    """The layers of an environment, and the packages in it."""

    layers: Sequence[Layer]
    packages: Sequence[Package] = ()


class LayerMaker:
    """Makes layers. Threads may share it.

    Args:
        store: Where layers and notes of them are kept.
        options: How layers are made.
    """

    def __init__(self, store: ImageStore, options: DirectOptions) -> None:
        self.store = store
        self.options = options
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let layers that are being made by other threads come to nothing: what they are for has failed."""
        self._stopped.set()

    def write(self, entries: Iterable[Entry], title: str, *, compression: Compression | None = None) -> Layer:
        """Make a layer.

        Raises:
            OutsideFailed: A file cannot be read, or the disk is full.
            Stopped: Nobody wants it any more.
        """
        chosen = self.options.compression if compression is None else compression
        return write_layer(entries, self.store, compression=chosen, made_by=title, stopped=self._stopped)

    def made_before(self, key: str) -> Layer | None:
        """The layer that was made from what the key stands for, if it is still here."""
        known = self.store.recall(f"layer-{key}")
        layer = _layer_from(known) if known is not None else None
        return layer if layer is not None and self.store.has(layer.descriptor) else None

    def remember(self, key: str, layer: Layer) -> Layer:
        """Note what a layer was made from; the layer."""
        self.store.remember(f"layer-{key}", _layer_json(layer))
        return layer

    def known_world(self, key: str) -> World | None:
        """The environment that was made from what the key stands for, if all of it is still here and may be used."""
        known = self.store.recall(f"packages-{key}") if self.options.uses_cache else None
        if known is None:
            return None
        layers = [_layer_from(one) for one in known["layers"]]
        if not all(self.store.has(layer.descriptor) for layer in layers):
            return None
        packages = tuple(Package(name=name, version=version) for name, version in known["packages"])
        return World(layers=layers, packages=packages)

    def remember_world(self, key: str, world: World) -> World:
        """Note what an environment was made from; the environment."""
        named = [[one.name, one.version] for one in world.packages]
        self.store.remember(f"packages-{key}", {"layers": [_layer_json(one) for one in world.layers], "packages": named})
        return world


def key_of(asked: Sequence[Any], content: Iterable[bytes] = ()) -> str:
    """What stands for a layer before it is made: a digest of all that it is made from.

    Args:
        asked: Values that can be written as JSON.
        content: Further bytes.
    """
    digest = hashlib.sha256(json.dumps([FORMAT, *asked], sort_keys=True).encode())
    for part in content:
        digest.update(part)
    return digest.hexdigest()[:40]


def few(names: Sequence[str]) -> str:
    """The first of many names, for a title."""
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def _layer_json(layer: Layer) -> dict[str, Any]:
    return {"descriptor": layer.descriptor.to_json(), "diff_id": layer.diff_id, "made_by": layer.made_by}


def _layer_from(document: Mapping[str, Any]) -> Layer:
    return Layer(descriptor=descriptor_from(document["descriptor"]), diff_id=document["diff_id"], made_by=document["made_by"])
