"""Images on this machine: an OCI image layout in the cache directory, which other tools can read too.

Content is stored under its digest and never changed. It is written to a file beside, and put in place when it is whole and its
digest is right; so a build or a pull that is interrupted leaves nothing that anybody would take for content.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from drivetrain.images.descriptor import CONFIG, Descriptor, Platform, descriptor_from, is_digest
from drivetrain.images.digest import BLOCK, Hashing, digest_of
from drivetrain.images.errors import Damaged, ImageNotFound
from drivetrain.images.image import Image, Manifest, index_bytes, read_manifest, to_bytes
from drivetrain.images.reference import Reference
from drivetrain.model.errors import OutsideFailed

REFERENCE_NAME = "org.opencontainers.image.ref.name"
#: Files that nobody has touched for so long belong to no process that lives; downloads are kept for longer.
_DAY_SECONDS = 24 * 3600
_LEFT_SECONDS = _DAY_SECONDS
_BEGUN_SECONDS = 14 * 24 * 3600

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


class BlobWriter:
    """A file that becomes content when it is whole."""

    def __init__(self, file: BinaryIO, store: ImageStore) -> None:
        self._file = file
        self._store = store

    def write(self, data: bytes) -> int:
        """Write some.

        Raises:
            OutsideFailed: The disk is full.
        """
        try:
            return self._file.write(data)
        except OSError as error:
            raise _explain(error, self._store.directory) from error

    def commit(self, digest: str) -> None:
        """Make it content."""
        try:
            self._file.flush()
            Path(self._file.name).replace(self._store.path(digest))
        except OSError as error:
            raise _explain(error, self._store.directory) from error


class ImageStore:
    """A directory of images.

    Args:
        directory: An OCI image layout; made when it is first written to.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, digest: str) -> Path:
        """Where content of this digest is, if it is here."""
        assert is_digest(digest), digest
        return self.directory / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the content is here. Who asks is about to use it, so it stays for some more weeks."""
        path = self.path(descriptor.digest)
        try:
            status = path.stat()
        except OSError:
            return False
        _renew(path, status.st_mtime)
        return status.st_size == descriptor.size

    def read(self, digest: str) -> bytes:
        """Content that is small.

        Raises:
            ImageNotFound: It is not here.
        """
        try:
            return self.path(digest).read_bytes()
        except FileNotFoundError:
            raise ImageNotFound(f"there is no content '{digest}' in '{self.directory}'") from None

    def put(self, content: bytes) -> str:
        """Store content; its digest."""
        digest = digest_of(content)
        if not self.has(Descriptor(media_type="", digest=digest, size=len(content))):
            with self.writer() as blob:
                blob.write(content)
                blob.commit(digest)
        return digest

    @contextlib.contextmanager
    def writer(self) -> Iterator[BlobWriter]:
        """A file for new content; removed when it was not committed."""
        ingest = self._prepared() / "ingest"
        with _explained(self.directory):
            file = tempfile.NamedTemporaryFile(dir=ingest, delete=False)  # noqa: SIM115 (closed below)
            os.fchmod(file.fileno(), 0o644)
        try:
            with file:
                yield BlobWriter(file, self)  # type: ignore[arg-type] # it is a binary file in all but name
        finally:
            Path(file.name).unlink(missing_ok=True)

    def partial(self, digest: str) -> Path:
        """Where content is gathered that comes in pieces, to go on with after an interruption."""
        assert is_digest(digest), digest
        return self._prepared() / "ingest" / f"{digest.removeprefix('sha256:')}.partial"

    @contextlib.contextmanager
    def gathering(self, descriptor: Descriptor, waiting: Callable[[], None]) -> Iterator[Path | None]:
        """The file that content is gathered in, for one process at a time; ``None`` where another has brought it meanwhile.

        Args:
            descriptor: What is gathered.
            waiting: Called again and again while another process gathers it; may raise to give up.

        Raises:
            OutsideFailed: The disk is full.
        """
        path = self.partial(descriptor.digest)
        with _explained(self.directory), _exclusive(path, waiting):
            if self.has(descriptor):
                path.unlink()
                yield None
            else:
                yield path

    def adopt(self, file: Path, descriptor: Descriptor) -> None:
        """Make a file content, if its digest is right; it is removed if not.

        Raises:
            Damaged: It is not what the descriptor promised.
        """
        found = _digest_of_file(file)
        if found != descriptor.digest:
            size = file.stat().st_size
            file.unlink()
            raise Damaged(
                f"content '{descriptor.digest}' arrived damaged: it has {size} bytes and the digest '{found}'", hint="try again"
            )
        file.replace(self.path(descriptor.digest))

    def add_image(self, image: Image) -> Descriptor:
        """Store an image's config and manifest; its layers may be elsewhere."""
        self.put(image.config_bytes())
        self.put(image.manifest_bytes())
        return image.descriptor

    def add_index(self, images: Sequence[Descriptor]) -> Descriptor:
        """Store an index of images for several platforms."""
        content = index_bytes(images)
        return read_manifest(self.read(self.put(content))).descriptor

    def manifest(self, digest: str) -> Manifest:
        """A manifest that is here.

        Raises:
            ImageNotFound: It is not.
        """
        return read_manifest(self.read(digest))

    def image(self, manifest: Manifest) -> Image:
        """The image that a manifest is of, if its config is here."""
        assert manifest.config is not None
        return image_from(manifest, self.read(manifest.config.digest))

    def tag(self, name: str, descriptor: Descriptor) -> None:
        """Let a name mean a manifest, from now on."""
        with self._locked():
            others = [one for one in self._tagged() if one.annotations.get(REFERENCE_NAME) != name]
            named = Descriptor(
                media_type=descriptor.media_type,
                digest=descriptor.digest,
                size=descriptor.size,
                platform=descriptor.platform,
                annotations={REFERENCE_NAME: name},
            )
            self._replace("index.json", index_bytes([*others, named]))

    def find(self, name: str) -> Descriptor | None:
        """What a name means here."""
        return next((one for one in self._tagged() if one.annotations.get(REFERENCE_NAME) == name), None)

    def resolve(self, reference: Reference) -> Manifest | None:
        """The manifest of an image that was built, pulled or pushed here."""
        if reference.digest is not None:
            return self.manifest(reference.digest) if self.path(reference.digest).exists() else None
        found = self.find(str(reference))
        return self.manifest(found.digest) if found is not None else None

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(one.annotations[REFERENCE_NAME] for one in self._tagged() if REFERENCE_NAME in one.annotations)

    def remember(self, name: str, document: Any) -> None:
        """Keep a JSON value that took long to find."""
        self._prepared()
        self._replace(f"notes/{name}.json", to_bytes(document))

    def recall(self, name: str) -> Any:
        """What was kept under a name; ``None`` if nothing was."""
        try:
            return json.loads((self.directory / "notes" / f"{name}.json").read_bytes())
        except (OSError, ValueError):
            return None

    def forget(self, name: str) -> None:
        """Keep it no longer."""
        (self.directory / "notes" / f"{name}.json").unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove what processes have left that were killed: all but downloads that were begun, which are gone on with.

        Once a day, also what no name leads to and nobody has used for weeks.
        """
        now = time.time()
        self._sweep(now)
        for path in (*self.directory.glob("staging/*"), *self.directory.glob("ingest/*")):
            kept = _BEGUN_SECONDS if path.suffix == ".partial" else _LEFT_SECONDS
            with contextlib.suppress(OSError):  # another process may be tidying too
                if path.name == "lock" or now - path.stat().st_mtime < kept:
                    continue
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()

    def _sweep(self, now: float) -> None:
        mark = self.directory / "notes" / "swept"
        with contextlib.suppress(OSError):
            if now - mark.stat().st_mtime < _DAY_SECONDS:
                return
        if not (self.directory / "blobs").is_dir():
            return
        from drivetrain.images.sweep import sweep

        with _explained(self.directory):
            mark.touch()
        with self._locked():  # so that no name is given meanwhile
            sweep(self.directory / "blobs" / "sha256", self._tagged(), now)

    def _tagged(self) -> tuple[Descriptor, ...]:
        try:
            document = json.loads((self.directory / "index.json").read_bytes())
        except FileNotFoundError:
            return ()
        except ValueError:
            raise Damaged(f"'{self.directory / 'index.json'}' is not JSON", hint="delete it; images must be built anew") from None
        return tuple(descriptor_from(one) for one in document.get("manifests", ()))

    def _prepared(self) -> Path:
        mark = self.directory / "oci-layout"
        if not mark.exists():
            with _explained(self.directory):
                for name in ("blobs/sha256", "ingest", "notes"):
                    (self.directory / name).mkdir(parents=True, exist_ok=True)
            self._replace("oci-layout", _LAYOUT)
        return self.directory

    def _replace(self, name: str, content: bytes) -> None:
        path = self.directory / name
        with _explained(self.directory):
            handle, temporary = tempfile.mkstemp(dir=self.directory / "ingest")
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._prepared() / "ingest" / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@contextlib.contextmanager
def _exclusive(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a file, which is made where there is none. Who held it before may have moved it away, and then it is made anew."""
    while True:
        with path.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                continue
            if _is_at(file, path):
                yield
                return


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def image_from(manifest: Manifest, config: bytes) -> Image:
    """The image of a manifest and its config document.

    Raises:
        Damaged: The config cannot be read.
    """
    try:
        document = json.loads(config)
    except ValueError as error:
        raise Damaged(f"the config of the image '{manifest.descriptor.digest}' is not JSON") from error
    if not isinstance(document, dict):
        raise Damaged(f"the config of the image '{manifest.descriptor.digest}' is not a JSON object")
    return Image(config=document, layers=manifest.layers, annotations=manifest.annotations)


def select_platform(manifest: Manifest, platform: Platform, name: str) -> Descriptor:
    """The image of an index that runs on a platform.

    Raises:
        ImageNotFound: None does; names those that are there.
    """
    for one in manifest.manifests:
        if platform.is_satisfied_by(one.platform):
            return one
    there = sorted({str(one.platform) for one in manifest.manifests if one.platform and one.platform.os != "unknown"})
    raise ImageNotFound(f"'{name}' has no image for {platform}", hint=f"it has them for {', '.join(there) or 'no platform'}")


def is_config(descriptor: Descriptor) -> bool:
    """Whether it describes a config document of a container image, and not of something else that registries hold."""
    return descriptor.media_type == CONFIG


def _renew(path: Path, modified: float) -> None:
    """Note that content is in use, once a day."""
    if time.time() - modified > _DAY_SECONDS:
        with contextlib.suppress(OSError):  # it may be another user's
            os.utime(path)


def _digest_of_file(file: Path) -> str:
    hashing = Hashing(_Nowhere())
    with file.open("rb") as content:
        while block := content.read(BLOCK):
            hashing.write(block)
    return hashing.digest


class _Nowhere:
    def write(self, data: bytes) -> int:
        return len(data)


@contextlib.contextmanager
def _explained(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _explain(error, directory) from error


def _explain(error: OSError, directory: Path) -> OutsideFailed:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutsideFailed(
            f"the disk is full: '{directory}'", hint="free some space, or set DRIVETRAIN_CACHE_DIR to another disk"
        )
    return OutsideFailed(
        f"cannot write to '{directory}': {error.strerror or error}",
        hint="set DRIVETRAIN_CACHE_DIR to a directory that can be written to",
    )
