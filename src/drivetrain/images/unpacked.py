"""Images unpacked on this machine: a directory for each layer, which images that begin alike have in common.

A layer is unpacked beside, and put in place by one renaming when it is whole; so a process that is killed leaves nothing that
anybody would take for a layer. Two that want the same one wait for each other. A layer's name is made of its own digest and of
those below it, since what it does not say of its directories it has from there.

The note beside a layer is renewed whenever the layer is asked for, and locked by those that run it. What nobody has asked for in
weeks and nobody runs is removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from drivetrain.images.descriptor import Descriptor, is_digest
from drivetrain.images.digest import digest_of
from drivetrain.images.errors import Damaged
from drivetrain.images.image import Image
from drivetrain.images.layer_tree import Removals, real_entry, unpack_layer
from drivetrain.images.namespace import remove_tree
from drivetrain.images.store import ImageStore
from drivetrain.images.sweep import UNUSED_SECONDS
from drivetrain.model.errors import OutsideFailed

#: So much of the disk no layer takes.
_SPARE_BYTES = 256 * 1024 * 1024
#: The kernel reads a page with the names of all layers.
_NAME_LETTERS = 32
_LARGEST_TEXT = 1024 * 1024
_DAY_SECONDS = 24 * 3600


@dataclass(frozen=True)
class UnpackedImage:
    """An image whose layers are unpacked.

    Attributes:
        directory: Holds ``layers``, and what runs of images write.
        layers: Names of the image's layers there, the lowest first.
    """

    directory: Path
    layers: tuple[str, ...]

    @property
    def is_marked(self) -> bool:
        """Whether the layers say in the kernel's own way what of those below them is gone."""
        return all(removals.is_marked for removals in self._removals)

    def read(self, path: str) -> str | None:
        """A small text file of the image; ``None`` if it has none of this name.

        Args:
            path: Without a slash at the beginning. No symbolic link is followed.
        """
        parts = path.split("/")
        above = {"/".join(parts[:depth]) for depth in range(len(parts))}
        for layer, removals in zip(reversed(self.layers), reversed(self._removals), strict=True):
            tree = self.directory / "layers" / layer
            found = real_entry(tree, parts)
            if found is not None and stat.S_ISREG(found.st_mode):
                with contextlib.suppress(OSError), (tree / path).open("rb") as file:
                    return file.read(_LARGEST_TEXT).decode(errors="replace")
                return None
            if found is not None or above & set(removals.emptied) or (above | {path}) & set(removals.gone):
                return None
        return None

    @cached_property
    def _removals(self) -> Sequence[Removals]:
        return [_read_removals(self.directory / "layers" / layer) for layer in self.layers]


@dataclass(frozen=True)
class UnpackedLayers:
    """A directory with the layers of images, unpacked.

    Attributes:
        directory: Made when it is first written to; nobody but its owner looks into it.
        store: Has the layers as they were sent.
    """

    directory: Path
    store: ImageStore

    def has(self, image: Image) -> bool:
        """Whether all of an image is unpacked. Who asks is about to use it, so it stays for some more weeks."""
        return all(map(is_digest, image.diff_ids)) and all(self._is_here(name) for name in _names(image.diff_ids))

    def unpack(self, image: Image, told: Callable[[Descriptor], None]) -> UnpackedImage:
        """Unpack what is not unpacked yet of an image whose layers are in the store.

        Args:
            image: The image.
            told: Called with each layer before it is unpacked.

        Raises:
            Damaged: A layer is not what it should be.
            OutsideFailed: The disk is full.
        """
        if len(image.layers) != len(image.diff_ids) or not all(map(is_digest, image.diff_ids)):
            raise Damaged("the image's config and its manifest have not the same layers", hint="build or push the image again")
        names: list[str] = []
        with self._explained():
            self._prepare()
            for layer, diff_id, name in zip(image.layers, image.diff_ids, _names(image.diff_ids), strict=True):
                self._ensure(layer, diff_id, name, names, told)
                names.append(name)
        return UnpackedImage(self.directory, tuple(names))

    def tidy(self) -> None:
        """Remove, once a day, the layers that nobody runs and nobody has asked for in weeks."""
        mark = self.directory / "swept"
        now = time.time()
        with contextlib.suppress(OSError):
            if now - mark.stat().st_mtime < _DAY_SECONDS:
                return
        if not self.directory.is_dir():
            return
        with self._explained():
            mark.touch()
        for note in (self.directory / "layers").glob("*.json"):
            with contextlib.suppress(OSError):  # somebody runs it, or another process is tidying too
                if now - note.stat().st_mtime > UNUSED_SECONDS:
                    self._remove_unused(note, now)

    def _is_here(self, name: str) -> bool:
        place = self.directory / "layers" / name
        try:
            with place.with_suffix(".json").open("rb") as note:
                fcntl.flock(note, fcntl.LOCK_SH)  # who has it alone is removing the layer
                os.utime(note.fileno())
                return place.is_dir()
        except FileNotFoundError:
            return False

    def _remove_unused(self, note: Path, now: float) -> None:
        place = note.with_suffix("")
        with self._alone(place.name) as directory, note.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if now - os.fstat(file.fileno()).st_mtime <= UNUSED_SECONDS:  # it was asked for meanwhile
                return
            directory.mkdir(mode=0o700)
            if place.is_dir():
                place.rename(directory / "tree")  # from now on it is not there
            note.unlink()

    def _ensure(self, layer: Descriptor, diff_id: str, name: str, below: Sequence[str], told: Callable[[Descriptor], None]) -> None:
        place = self.directory / "layers" / name
        if self._is_here(name):
            return
        with self._alone(name) as directory:
            if self._is_here(name):  # another process has been here meanwhile
                return
            told(layer)
            directory.mkdir(mode=0o700)
            tree = directory / "tree"
            tree.mkdir(mode=0o755)
            trees = [self.directory / "layers" / one for one in below]
            removals = unpack_layer(self.store.path(layer.digest), layer, diff_id, tree, trees, spare_bytes=_SPARE_BYTES)
            notes = directory / "notes"
            notes.write_text(json.dumps(asdict(removals)), encoding="utf-8")
            notes.replace(place.with_suffix(".json"))
            tree.rename(place)  # from now on it is there

    @contextlib.contextmanager
    def _alone(self, name: str) -> Iterator[Path]:
        """A directory to unpack into that no other process has; removed at the end."""
        directory = self.directory / "ingest" / name
        with directory.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _remove(directory)  # one who was killed may have left it
            try:
                yield directory
            finally:
                _remove(directory)

    def _prepare(self) -> None:
        for name in ("", "layers", "ingest", "runs"):
            (self.directory / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        for lock in (self.directory / "ingest").glob("*.lock"):
            directory = lock.with_suffix("")
            if not directory.exists():
                continue
            with contextlib.suppress(OSError), lock.open("w") as file:  # of one who was killed, and never tried again
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(directory)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutsideFailed(f"cannot write to '{self.directory}': {error.strerror or error}") from error


def _names(diff_ids: Sequence[str]) -> Iterator[str]:
    chain = ""
    for diff_id in diff_ids:
        chain = digest_of(f"{chain} {diff_id}".encode()) if chain else diff_id
        yield chain.removeprefix("sha256:")[:_NAME_LETTERS]


def _read_removals(tree: Path) -> Removals:
    document = json.loads(tree.with_suffix(".json").read_text(encoding="utf-8"))
    return Removals(gone=tuple(document["gone"]), emptied=tuple(document["emptied"]), is_marked=document["is_marked"])


def _remove(directory: Path) -> None:
    if directory.exists():
        remove_tree(os.fspath(directory))
