"""A layer's archive as a directory: what containers' file systems are put together from.

Archives come from strangers. Nothing in one may reach beyond the directory: paths are walked one part at a time, and symbolic
links on the way lead to where they would in a container. Nothing in one decides how much memory or disk is taken: headers and the
number of entries have bounds, and some of the disk stays free. Devices are left out, and so are the bits that lend a file's owner's
rights: everything belongs to the user who unpacks.

A layer also says what of the layers below is gone. That is noted beside the directory, and marked in it as the kernel's overlay
wants it, where the file system can.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from drivetrain.images.descriptor import Descriptor
from drivetrain.images.digest import BLOCK, Hashing
from drivetrain.images.errors import Damaged
from drivetrain.model.errors import OutsideFailed

#: What the headers of one entry may take: names of 4 kB, and what other tools note beside.
_HEADER_BYTES = 1024 * 1024
#: In which pieces ``tarfile`` reads.
_READ_BYTES = 128 * 1024
_MOST_ENTRIES = 1_000_000
#: Unpacked. A small file can say that it is a large one, and to find that out takes time.
_LARGEST_LAYER_BYTES = 1024**4
_DEEPEST = 256
_LONGEST_NAME = 4096
#: As the kernel has it.
_MOST_LINKS = 40

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_OVERLAY_OPAQUE = "user.overlay.opaque"


@dataclass(frozen=True, kw_only=True)
class Removals:
    """What of the layers below a layer takes away.

    Attributes:
        gone: Paths of what is there no longer.
        emptied: Directories that show nothing of the layers below.
        is_marked: Whether the directory says so too, in the way that the kernel's overlay reads.
    """

    gone: tuple[str, ...] = ()
    emptied: tuple[str, ...] = ()
    is_marked: bool = True


def unpack_layer(blob: Path, layer: Descriptor, diff_id: str, tree: Path, below: Sequence[Path], *, spare_bytes: int) -> Removals:
    """Unpack a layer into an empty directory.

    Args:
        blob: The layer as it was sent.
        layer: Says how it is compressed.
        diff_id: Digest of the archive.
        tree: The directory.
        below: Those of the layers below it, the lowest first.
        spare_bytes: How much of the disk stays free.

    Raises:
        Damaged: It is no archive, another one than the image says, or one that nobody means well with.
        OutsideFailed: The disk is full.
    """
    unpacking = _Unpacking(tree, below, spare_bytes)
    try:
        with _archive(blob, layer) as content:
            source = _Bounded(content)
            _unpack(source, unpacking)
            while source.read(BLOCK):  # what follows the archive's end is part of the digest
                source.allow(BLOCK)
    except (tarfile.TarError, EOFError, ValueError, RecursionError, gzip.BadGzipFile) as error:
        if isinstance(error, Damaged):
            raise
        raise Damaged(f"the layer '{layer.digest}' cannot be unpacked: {error}") from error
    except OSError as error:
        raise _explain(error, layer, tree) from error
    if source.digest != diff_id:
        raise Damaged(f"the layer '{layer.digest}' is not the one that its image names", hint="build or push the image again")
    return unpacking.finish()


def real_entry(tree: Path, parts: Sequence[str]) -> os.stat_result | None:
    """What is at a path of a directory, symbolic links followed nowhere; ``None`` if there is nothing, or a link on the way."""
    path = str(tree)
    found = os.lstat(path)
    for part in parts:
        if not stat.S_ISDIR(found.st_mode):
            return None
        path = f"{path}/{part}"
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return None
    return found


def _unpack(source: _Bounded, unpacking: _Unpacking) -> None:
    source.allow(0)
    with tarfile.open(fileobj=cast("IO[bytes]", source), mode="r|", bufsize=_READ_BYTES, encoding="utf-8") as archive:
        number = 0
        while (member := archive.next()) is not None:
            if (number := number + 1) > _MOST_ENTRIES:
                raise Damaged(f"a layer has more than {_MOST_ENTRIES} entries")
            if member.size < 0 or member.issparse():
                raise Damaged(f"a layer holds '{member.name}' in a form that no builder of images writes")
            source.allow(member.size if member.isreg() else 0)
            unpacking.add(member, archive)
            # It would keep them all, and what archives say about themselves.
            archive.members = []  # type: ignore[attr-defined]
            archive.pax_headers = {}


class _Unpacking:
    """Puts entries into a directory that nobody else writes to."""

    def __init__(self, tree: Path, below: Sequence[Path], spare_bytes: int) -> None:
        self._tree = str(tree)
        self._below = below
        self._spare = spare_bytes
        self._places: dict[str, str] = {}
        self._directories: dict[str, tuple[int, int]] = {}
        self._gone: dict[str, None] = {}
        self._emptied: dict[str, None] = {}
        self._written = 0

    def add(self, member: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        parts = _parts(member.name)
        if not parts:
            self._directories[self._tree] = (member.mode, int(member.mtime))
            return
        place = self._place(parts[:-1])
        name = parts[-1]
        if name.startswith(_WHITEOUT):
            self._remove_below(place, name)
            return
        path = f"{place}/{name}"
        if member.isdir():
            self._make_directory(path, member)
        elif member.issym():
            self._clear(path)
            os.symlink(member.linkname, path)
        elif member.islnk():
            self._link(path, member)
        elif member.isreg():
            self._write(path, member, archive)

    def finish(self) -> Removals:
        """Note and mark what is gone of the layers below; give directories the modes and times that they are to have."""
        marked = [self._mark_gone(path) for path in self._gone]
        emptied = tuple(path for path in self._emptied if os.path.isdir(f"{self._tree}/{path}"))
        marked += [_mark_emptied(f"{self._tree}/{path}") for path in emptied]
        for path, (mode, mtime) in sorted(self._directories.items(), reverse=True):  # those within others first
            os.utime(path, (mtime, mtime))
            os.chmod(path, mode & 0o1777 | 0o700)  # so that its owner can one day remove it
        gone = tuple(path for path in self._gone if path not in self._emptied)
        # The kernel does not look for a mark at the top.
        return Removals(gone=gone, emptied=emptied, is_marked=all(marked) and "" not in emptied)

    def _place(self, parts: Sequence[str]) -> str:
        """The directory that entries of this name go to; made if it is not there."""
        name = "/".join(parts)
        if (known := self._places.get(name)) is not None:
            return known
        done: list[str] = []
        pending = list(reversed(parts))
        links = 0
        while pending:
            part = pending.pop()
            if part in ("", "."):
                continue
            if part == "..":
                del done[-1:]
                continue
            path = "/".join((self._tree, *done, part))
            if (found := _lstat(path)) is None:
                self._make_parent(path, [*done, part])
            elif stat.S_ISLNK(found.st_mode):
                links += 1
                target = os.readlink(path)
                done = [] if target.startswith("/") else done
                pending.extend(reversed(target.split("/")))
                if links > _MOST_LINKS:
                    raise Damaged(f"a layer has symbolic links at '{name}' that lead nowhere")
                continue
            elif not stat.S_ISDIR(found.st_mode):
                raise Damaged(f"a layer has '{name}' as a file and as a directory")
            done.append(part)
            if len(done) > _DEEPEST:
                raise Damaged(f"a layer has directories more than {_DEEPEST} deep")
        self._places[name] = "/".join((self._tree, *done))
        return self._places[name]

    def _make_parent(self, path: str, parts: Sequence[str]) -> None:
        """Make a directory that the archive does not name: it stays as the layers below have it."""
        os.mkdir(path, 0o700)
        found = next((found for tree in reversed(self._below) if (found := real_entry(tree, parts)) is not None), None)
        known = found is not None and stat.S_ISDIR(found.st_mode)
        self._directories[path] = (found.st_mode, int(found.st_mtime)) if found is not None and known else (0o755, 0)

    def _make_directory(self, path: str, member: tarfile.TarInfo) -> None:
        if (found := _lstat(path)) is None or not stat.S_ISDIR(found.st_mode):
            self._clear(path)
            os.mkdir(path, 0o700)
        self._directories[path] = (member.mode, int(member.mtime))

    def _link(self, path: str, member: tarfile.TarInfo) -> None:
        """A second name for a file of this layer or of one below."""
        parts = _parts(member.linkname)
        source = f"{self._place(parts[:-1])}/{parts[-1]}" if parts else self._tree
        if _lstat(source) is None:
            trees = [tree for tree in reversed(self._below) if real_entry(tree, parts) is not None]
            source = f"{trees[0]}/{'/'.join(parts)}" if trees else source
        found = _lstat(source)
        if found is None or not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
            raise Damaged(f"a layer has '{member.name}' as another name of '{member.linkname}', which is no file")
        if source != path:
            self._clear(path)
            os.link(source, path, follow_symlinks=False)

    def _write(self, path: str, member: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        self._clear(path)
        content = archive.extractfile(member)
        assert content is not None
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb", buffering=0) as file:
            while block := content.read(BLOCK):
                self._account(len(block))
                file.write(block)
            os.fchmod(file.fileno(), member.mode & 0o777)
            # Bytecode names the time of its source, to the second.
            os.utime(file.fileno(), (int(member.mtime), int(member.mtime)))

    def _clear(self, path: str) -> None:
        """Make way for something new: the last entry of a name counts."""
        if (found := _lstat(path)) is None:
            return
        self._places.clear()
        if stat.S_ISDIR(found.st_mode):
            shutil.rmtree(path)
            self._directories = {name: as_it_is for name, as_it_is in self._directories.items() if not _is_in(name, path)}
        else:
            os.unlink(path)

    def _remove_below(self, place: str, name: str) -> None:
        inner = place[len(self._tree) + 1 :]
        if name == _OPAQUE:
            self._emptied[inner] = None
        elif not name.startswith(_WHITEOUT * 2) and (gone := name.removeprefix(_WHITEOUT)) not in ("", ".", ".."):
            self._gone[f"{inner}/{gone}".lstrip("/")] = None

    def _mark_gone(self, inner: str) -> bool:
        path = f"{self._tree}/{inner}"
        if (found := _lstat(path)) is not None:
            if stat.S_ISDIR(found.st_mode):  # the layer has another directory of that name: all of it is new
                self._emptied[inner] = None
            return True
        try:
            os.mknod(path, stat.S_IFCHR, 0)
        except OSError:
            return False
        return True

    def _account(self, size: int) -> None:
        self._written += size
        if self._written >= 64 * BLOCK:
            self._written = 0
            disk = os.statvfs(self._tree)
            if disk.f_bavail * disk.f_frsize < self._spare:
                raise OSError(errno.ENOSPC, "what is left of the disk stays free")


class _Bounded:
    """An archive, read no further than the entries that were looked at allow."""

    def __init__(self, content: IO[bytes]) -> None:
        self._content = content
        self._hashing = Hashing(_Nowhere())
        self._most = 0

    def allow(self, size: int) -> None:
        """Let the content of an entry be read, and the headers of the next one."""
        self._most = self._hashing.size + size + _HEADER_BYTES + 2 * _READ_BYTES

    def read(self, size: int) -> bytes:
        block = self._content.read(size)
        self._hashing.write(block)
        if self._hashing.size > self._most:
            raise Damaged(f"a layer has an entry whose description alone is larger than {_HEADER_BYTES} bytes")
        if self._hashing.size > _LARGEST_LAYER_BYTES:
            raise Damaged(f"a layer is larger than {_LARGEST_LAYER_BYTES} bytes")
        return block

    @property
    def digest(self) -> str:
        """Of what was read."""
        return self._hashing.digest


class _Nowhere:
    def write(self, data: bytes, /) -> int:
        return len(data)


@contextlib.contextmanager
def _archive(blob: Path, layer: Descriptor) -> Iterator[IO[bytes]]:
    """A layer before it was compressed, to be read from its beginning to its end."""
    with blob.open("rb") as file:
        if layer.media_type.endswith("zstd"):
            import zstandard

            try:
                with zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as content:
                    yield cast("IO[bytes]", content)
            except zstandard.ZstdError as error:
                raise Damaged(f"the layer '{layer.digest}' cannot be unpacked: {error}") from error
        elif layer.media_type.endswith("gzip"):
            with gzip.GzipFile(fileobj=file) as content:
                yield cast("IO[bytes]", content)
        else:
            yield file


def _parts(name: str) -> list[str]:
    if len(name) > _LONGEST_NAME:
        raise Damaged(f"a layer has a path that cannot be: it has {len(name)} letters")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Damaged(f"a layer holds '{name}', which leads out of it")
    return parts


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _is_in(path: str, directory: str) -> bool:
    return path == directory or path.startswith(f"{directory}/")


def _mark_emptied(path: str) -> bool:
    try:
        os.setxattr(path, _OVERLAY_OPAQUE, b"y")
    except OSError:
        return False
    return True


def _explain(error: OSError, layer: Descriptor, tree: Path) -> OutsideFailed:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "free some space, or set DRIVETRAIN_CACHE_DIR to another disk"
        return OutsideFailed(f"the disk is too full to unpack an image: '{tree.parent}'", hint=hint)
    if error.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.ENOTDIR):
        return Damaged(f"the layer '{layer.digest}' has a path that cannot be: {error.strerror}")
    return OutsideFailed(f"cannot unpack an image into '{tree.parent}': {error.strerror or error}")
