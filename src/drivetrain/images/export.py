"""Images as files: OCI layouts, which everything understands, and the archives that ``docker load`` takes."""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from drivetrain.images.archive import EPOCH_SECONDS, Compression, compress_layer
from drivetrain.images.descriptor import Descriptor
from drivetrain.images.digest import BLOCK, digest_of
from drivetrain.images.errors import Damaged
from drivetrain.images.image import Image, Layer, Manifest, index_bytes, read_manifest
from drivetrain.images.store import REFERENCE_NAME, ImageStore, image_from
from drivetrain.model.errors import OutsideFailed

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


def write_layout(store: ImageStore, manifest: Manifest, name: str, target: Path) -> None:
    """Write an image, whose layers are all in the store, as an OCI layout: a directory, or a tar file if the target ends so.

    Raises:
        OutsideFailed: It cannot be written; nothing half-written is left.
    """
    named = Descriptor(
        media_type=manifest.descriptor.media_type,
        digest=manifest.descriptor.digest,
        size=manifest.descriptor.size,
        annotations={REFERENCE_NAME: name},
    )
    small = {"oci-layout": _LAYOUT, "index.json": index_bytes([named])}
    blobs = {f"blobs/sha256/{blob.digest.removeprefix('sha256:')}": blob for blob in _closure(store, manifest)}
    try:
        if target.suffix == ".tar":
            _write_tar(store, small, blobs, target)
        else:
            _write_directory(store, small, blobs, target)
    except OSError as error:
        raise OutsideFailed(f"'{target}' cannot be written: {error.strerror or error}") from error


def write_docker_archive(store: ImageStore, image: Image, name: str, target: Path) -> None:
    """Write an image as ``docker load`` takes it, with layers that every version of Docker can read: not compressed with zstd.

    Raises:
        OutsideFailed: It cannot be written; nothing half-written is left.
    """
    config = image.config_bytes()
    config_name = f"{digest_of(config).removeprefix('sha256:')}.json"
    layers = [f"{diff_id.removeprefix('sha256:')}/layer.tar" for diff_id in image.diff_ids]
    listing = [{"Config": config_name, "RepoTags": [name], "Layers": layers}]
    partial = target.with_name(f".{target.name}.partial")
    try:
        with tarfile.open(partial, "w") as archive:
            _add_bytes(archive, config_name, config)
            for inner, layer in zip(layers, image.layers, strict=True):
                _add_plain_layer(archive, inner, store.path(layer.digest), layer)
            _add_bytes(archive, "manifest.json", json.dumps(listing).encode())
        partial.replace(target)
    except OSError as error:
        raise OutsideFailed(f"'{target}' cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def read_layout(directory: Path, store: ImageStore) -> Manifest:
    """Take the image of an OCI layout into the store.

    Raises:
        Damaged: It is not whole.
    """
    index = read_manifest((directory / "index.json").read_bytes())
    if len(index.manifests) != 1:
        raise Damaged(f"'{directory}' holds {len(index.manifests)} images where one is wanted")
    content = _blob(directory, index.manifests[0].digest).read_bytes()
    store.put(content)
    manifest = read_manifest(content)
    for blob in manifest.blobs:
        if not store.has(blob):
            # Under a name of its own, since somebody may be gathering the same content.
            brought = store.partial(blob.digest).with_suffix(f".{secrets.token_hex(8)}")
            _link_or_copy(_blob(directory, blob.digest), brought)
            store.adopt(brought, blob)
    return manifest


def read_docker_archive(file: Path, store: ImageStore, *, compression: Compression, known: Mapping[str, Descriptor]) -> Image:
    """Take the image of an archive that ``docker save`` has written into the store.

    Args:
        file: The archive.
        store: Takes the layers.
        compression: Of layers that are not compressed.
        known: Layers that need not be stored, by the digests of their archives: what they are in a registry.

    Raises:
        Damaged: It is none.
    """
    with tarfile.open(file) as archive:
        listing = json.loads(_content_of(archive, "manifest.json").read())[0]
        config = json.loads(_content_of(archive, listing["Config"]).read())
        diff_ids = (config.get("rootfs") or {}).get("diff_ids") or ()
        layers = tuple(
            known.get(diff_id) or compress_layer(_content_of(archive, name), store, compression=compression)
            for name, diff_id in zip(listing["Layers"], diff_ids, strict=True)
        )
    return Image(config=config, layers=layers)


def _closure(store: ImageStore, manifest: Manifest) -> Iterator[Descriptor]:
    yield manifest.descriptor
    images = [store.manifest(one.digest) for one in manifest.manifests] if manifest.is_index else [manifest]
    for image in images:
        if image.descriptor.digest != manifest.descriptor.digest:
            yield image.descriptor
        yield from image.blobs


def _write_tar(store: ImageStore, small: dict[str, bytes], blobs: dict[str, Descriptor], target: Path) -> None:
    partial = target.with_name(f".{target.name}.partial")
    try:
        with tarfile.open(partial, "w") as archive:
            for name, content in small.items():
                _add_bytes(archive, name, content)
            for name, blob in sorted(blobs.items()):
                with store.path(blob.digest).open("rb") as file:
                    archive.addfile(_header(name, blob.size), file)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _write_directory(store: ImageStore, small: dict[str, bytes], blobs: dict[str, Descriptor], target: Path) -> None:
    (target / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    for name, blob in blobs.items():
        if not (target / name).exists():
            partial = target / f"{name}.partial"
            _link_or_copy(store.path(blob.digest), partial)
            partial.replace(target / name)
    for name, content in small.items():  # last: the index makes it an image
        (target / name).write_bytes(content)


def _link_or_copy(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copyfile(source, target)


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    archive.addfile(_header(name, len(content)), io.BytesIO(content))


def _add_plain_layer(archive: tarfile.TarFile, name: str, source: Path, layer: Descriptor) -> None:
    if not layer.media_type.endswith("zstd"):
        with source.open("rb") as file:
            archive.addfile(_header(name, layer.size), file)
        return
    import zstandard

    with source.open("rb") as file, tempfile.TemporaryFile(dir=source.parents[2]) as plain:
        _, size = zstandard.ZstdDecompressor().copy_stream(file, plain, read_size=BLOCK, write_size=BLOCK)
        plain.seek(0)
        archive.addfile(_header(name, size), plain)


def _header(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, EPOCH_SECONDS, 0o644
    return info


def _blob(directory: Path, digest: str) -> Path:
    return directory / "blobs" / "sha256" / digest.removeprefix("sha256:")


def _content_of(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    try:
        file = archive.extractfile(name)
    except KeyError:
        file = None
    if file is None:
        raise Damaged(f"the archive holds no '{name}'")
    return file


def layers_of(image: Image) -> Iterable[Layer]:
    """The layers of an image with their history."""
    made = [str(one.get("created_by", "")) for one in image.config.get("history") or () if not one.get("empty_layer")]
    titles = [*made, *([""] * len(image.layers))]
    for descriptor, diff_id, title in zip(image.layers, image.diff_ids, titles, strict=False):
        yield Layer(descriptor=descriptor, diff_id=diff_id, made_by=title)


def image_of(store: ImageStore, manifest: Manifest) -> Image:
    """The image of a manifest in the store."""
    assert manifest.config is not None
    return image_from(manifest, store.read(manifest.config.digest))
