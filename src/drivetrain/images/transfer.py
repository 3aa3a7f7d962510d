"""Move images between the store of this machine and registries: several pieces at once, nothing that is there already.

An image can be used the moment its manifest is there. So that is moved last, when all it names has arrived.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Protocol

import msgspec

from drivetrain.images.descriptor import Descriptor, Platform
from drivetrain.images.image import BASE_NAME, Manifest, read_manifest
from drivetrain.images.reference import Reference, parse_reference
from drivetrain.images.registry.client import Registry, RegistryOptions
from drivetrain.images.registry.credentials import CredentialStore
from drivetrain.images.registry.retry import Exhausted, Passing, retrying
from drivetrain.images.registry.upload import Sessions, Upload
from drivetrain.images.store import ImageStore, select_platform
from drivetrain.model.errors import Misuse

#: Pieces up to this size take as long as the requests that they need.
_SMALL_BYTES = 256 * 1024
#: Between looks at whether another process has brought what is wanted here too.
_WAIT_SECONDS = 0.1


class Watcher(Protocol):
    """Is told how a transfer goes; from several threads."""

    def begins(self, descriptor: Descriptor, what: str) -> None:
        """A piece begins to be moved."""

    def moved(self, descriptor: Descriptor, size: int) -> None:
        """Bytes of it have been moved; a negative number must be moved again."""

    def ended(self, descriptor: Descriptor, how: str) -> None:
        """It is there: ``sent``, ``received``, ``mounted`` or ``there``."""


class Unwatched:
    """Tells nobody."""

    def begins(self, descriptor: Descriptor, what: str) -> None:
        """Nothing."""

    def moved(self, descriptor: Descriptor, size: int) -> None:
        """Nothing."""

    def ended(self, descriptor: Descriptor, how: str) -> None:
        """Nothing."""


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """What a transfer did.

    Attributes:
        descriptor: Of what was moved: a manifest or an index.
        pieces: How many pieces of content were moved.
        size: Their size in bytes.
        there: How many were there already.
    """

    descriptor: Descriptor
    pieces: int
    size: int
    there: int


class Transfers(msgspec.Struct, frozen=True, kw_only=True):
    """Moves images.

    Attributes:
        store: The images of this machine.
        credentials: The user's.
        options: How to talk to registries.
        watcher: Is told how it goes.
    """

    store: ImageStore
    credentials: CredentialStore
    options: RegistryOptions = msgspec.field(default_factory=RegistryOptions)
    watcher: Watcher = msgspec.field(default_factory=Unwatched)
    _stopped: threading.Event = msgspec.field(default_factory=threading.Event)

    def registry(self, reference: Reference) -> Registry:
        """The registry that an image is in; to be closed."""
        return Registry(reference, self.credentials, self.options)

    def fetch_manifest(self, reference: Reference, registry: Registry, platform: Platform | None) -> Manifest:
        """The manifest of an image, with its config; both are then in the store.

        Args:
            reference: The image.
            registry: Where it is.
            platform: Which one to take of several; ``None`` leaves an index as it is.

        Raises:
            ImageNotFound: There is none, or none for the platform.
        """
        manifest, content = registry.manifest(reference)
        self.store.put(content)
        if manifest.is_index:
            if platform is None:
                return manifest
            chosen = select_platform(manifest, platform, str(reference))
            manifest, content = registry.manifest(reference.with_digest(chosen.digest))
            self.store.put(content)
        assert manifest.config is not None
        self.fetch(registry, reference, manifest.config)
        return manifest

    def pull(self, reference: Reference, platform: Platform | None) -> Moved:
        """Bring an image here, under its name.

        Raises:
            ImageNotFound: There is none, or none for the platform.
            OutsideFailed: The registry goes on to fail; what has arrived stays for a later attempt.
        """
        self.store.tidy()
        with self.registry(reference) as registry:
            manifest = self.fetch_manifest(reference, registry, platform)
            images = [manifest]
            if manifest.is_index:
                images = [self.fetch_manifest(reference.with_digest(one.digest), registry, None) for one in manifest.manifests]
            wanted = {blob.digest: blob for image in images for blob in image.blobs}
            moved = self._each(wanted.values(), lambda blob: self.fetch(registry, reference, blob))
        self.store.tag(str(reference), manifest.descriptor)
        received = [blob for blob, how in moved if how]
        return Moved(
            descriptor=manifest.descriptor,
            pieces=len(received),
            size=sum(blob.size for blob in received),
            there=len(moved) - len(received),
        )

    def fetch(self, registry: Registry, reference: Reference, blob: Descriptor) -> bool:
        """Bring a piece of content here, if it is not; goes on where an interrupted attempt has ended.

        Returns:
            Whether bytes had to be moved.
        """
        if self.store.has(blob):
            self.watcher.ended(blob, "there")
            return False
        self.watcher.begins(blob, "receiving")
        with self.store.gathering(blob, self._waiting) as partial:
            if partial is None:
                self.watcher.ended(blob, "there")
                return False
            try:
                retrying(self.options.retry, lambda: self._receive(registry, reference, blob, partial), lambda: _size_of(partial))
            except Exhausted as error:
                raise registry.unreachable(error) from error
            self.store.adopt(partial, blob)
        self.watcher.ended(blob, "received")
        return True

    def _receive(self, registry: Registry, reference: Reference, blob: Descriptor, partial: Path) -> None:
        have = _size_of(partial)
        if have == blob.size:
            return
        have = have if have < blob.size else 0
        with registry.blob(reference, blob, have) as (begins, blocks), partial.open("r+b" if have else "wb") as file:
            file.seek(begins)
            file.truncate()
            for block in blocks:
                file.write(block)
                self._moved(blob, len(block))
                if file.tell() > blob.size:
                    break
            size = file.tell()
        if size < blob.size:
            raise Passing(f"it ended the transfer after {size} of {blob.size} bytes")

    def push(self, manifest: Manifest, reference: Reference) -> Moved:
        """Send an image, or an index of several, that is in the store.

        Its name means it only when all has arrived.

        Raises:
            AccessDenied: The registry refuses the user.
            OutsideFailed: The registry goes on to fail; what has arrived stays for a later attempt.
        """
        if reference.digest is not None:
            raise Misuse(f"'{reference}' names content, which cannot be pushed to", hint="push to a tag")
        images = [self.store.manifest(one.digest) for one in manifest.manifests] if manifest.is_index else [manifest]
        sessions = _KeptSessions(self.store)
        with contextlib.ExitStack() as stack:
            registry = stack.enter_context(self.registry(reference))
            sources = {blob.digest: source for image in images for source in self._sources(image, stack) for blob in image.layers}
            wanted = {blob.digest: blob for image in images for blob in image.blobs}

            def send(blob: Descriptor) -> bool:
                return self._send(registry, reference, blob, sources.get(blob.digest), sessions)

            moved = self._each(wanted.values(), send)
            for image in images if manifest.is_index else ():
                self._put(registry, reference.with_digest(image.descriptor.digest), image.descriptor)
            self._put(registry, reference, manifest.descriptor)
        sent = [blob for blob, how in moved if how]
        return Moved(
            descriptor=manifest.descriptor, pieces=len(sent), size=sum(blob.size for blob in sent), there=len(moved) - len(sent)
        )

    def _put(self, registry: Registry, reference: Reference, descriptor: Descriptor) -> None:
        content = self.store.read(descriptor.digest)
        registry.put_manifest(reference, content, read_manifest(content).descriptor.media_type)

    def _sources(self, image: Manifest, stack: contextlib.ExitStack) -> Iterator[_Source]:
        """Where layers are that this machine has not: where the image's base came from."""
        name = image.annotations.get(BASE_NAME)
        if name:
            with contextlib.suppress(Misuse):
                reference = parse_reference(name)
                yield _Source(reference=reference, registry=stack.enter_context(self.registry(reference)))

    def _send(self, registry: Registry, reference: Reference, blob: Descriptor, source: _Source | None, sessions: Sessions) -> bool:
        self.watcher.begins(blob, "sending")
        same = source is not None and source.reference.registry == reference.registry
        other = source.reference.repository if source is not None and same else None
        mount_from = other if other != reference.repository else None
        upload = Upload(
            registry=registry,
            reference=reference,
            descriptor=blob,
            file=self.store.path(blob.digest),
            sessions=sessions,
            sent=lambda size: self._moved(blob, size),
        )
        if not self.store.has(blob):
            if upload.mount(mount_from):
                self.watcher.ended(blob, "there")
                return False
            self.bring(blob, source, reference)
        sent = upload.send(mount_from)
        self.watcher.ended(blob, "sent" if sent else "there")
        return sent

    def bring(self, blob: Descriptor, source: _Source | None, reference: Reference) -> bool:
        """Bring a layer of a base here; whether bytes had to be moved."""
        if source is None:
            raise Misuse(
                f"a layer of '{reference}' is not on this machine, and nothing says where its base is",
                hint="build the image again",
            )
        return self.fetch(source.registry, source.reference, blob)

    def complete(self, manifest: Manifest) -> None:
        """Bring all layers of an image here, those of its base too.

        Raises:
            Misuse: Nothing says where they are.
        """
        missing = [blob for blob in manifest.blobs if not self.store.has(blob)]
        if not missing:
            return
        with contextlib.ExitStack() as stack:
            source = next(self._sources(manifest, stack), None)
            reference = source.reference if source is not None else parse_reference("unknown")
            self._each(missing, lambda blob: self.bring(blob, source, reference))

    def _each(self, blobs: Iterable[Descriptor], move: Callable[[Descriptor], bool]) -> list[tuple[Descriptor, bool]]:
        """Do something for every piece, several at once; the first failure ends it.

        The largest take longest, so they come first; but for small ones, which after an edit are the only ones that are new: their
        requests then pass while it is asked for the others.
        """
        ordered = sorted(blobs, key=lambda blob: (blob.size > _SMALL_BYTES, -blob.size))
        self._stopped.clear()
        with ThreadPoolExecutor(self.options.connections, thread_name_prefix="transfer") as pool:
            futures = [pool.submit(move, blob) for blob in ordered]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:  # all are done; or one has failed, or the user wants no more: the others end with their next block
                if not all(future.done() and not future.cancelled() and future.exception() is None for future in futures):
                    self._stopped.set()
                    pool.shutdown(wait=False, cancel_futures=True)
        errors = [error for future in futures if not future.cancelled() and (error := future.exception()) is not None]
        if errors:
            raise next((error for error in errors if not isinstance(error, _Stopped)), errors[0])
        return [(blob, future.result()) for blob, future in zip(ordered, futures, strict=True)]

    def _waiting(self) -> None:
        """Another process is bringing the same."""
        if self._stopped.wait(_WAIT_SECONDS):
            raise _Stopped

    def _moved(self, blob: Descriptor, size: int) -> None:
        if self._stopped.is_set() and size > 0:
            raise _Stopped
        self.watcher.moved(blob, size)


class _Stopped(Exception):  # noqa: N818 (nothing went wrong with this piece)
    """Another piece has failed."""


def _size_of(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


class _Source(msgspec.Struct, frozen=True, kw_only=True):
    reference: Reference
    registry: Registry


class _KeptSessions(Sessions):
    """Notes uploads that have begun in the store, for the process that goes on with them."""

    def __init__(self, store: ImageStore) -> None:
        super().__init__()
        self._store = store

    def get(self, key: str) -> str | None:
        found = self._store.recall(_note(key))
        return found if isinstance(found, str) else None

    def set(self, key: str, url: str | None) -> None:
        if url is None:
            self._store.forget(_note(key))
        else:
            self._store.remember(_note(key), url)


def _note(key: str) -> str:
    return f"upload-{hashlib.sha256(key.encode()).hexdigest()[:32]}"
