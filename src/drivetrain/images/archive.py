"""Write layers: archives that are the same for the same content, whatever the machine, the user or the day.

Names are sorted, owners are root, modes are one of two, and every time is the same. A layer goes from disk to disk in a stream,
so that one larger than memory costs no more memory than a small one.
"""

from __future__ import annotations

import collections
import contextlib
import io
import os
import struct
import tarfile
import threading
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum
from pathlib import Path
from typing import IO, Protocol, cast

import msgspec

from drivetrain.images.descriptor import LAYER, Descriptor
from drivetrain.images.digest import BLOCK, Hashing, Sink
from drivetrain.images.image import Layer
from drivetrain.images.store import ImageStore
from drivetrain.model.errors import OutsideFailed

#: The first of January 1980. Zip archives cannot hold an earlier time, and packing files of an image into one is common.
EPOCH_SECONDS = 315532800
EPOCH = "1980-01-01T00:00:00Z"

_ZSTD_LEVEL = 3
#: zlib's fastest levels are several times faster than its default, and a tenth larger.
_GZIP_LEVEL = 4


class Compression(Enum):
    """How a layer is compressed: what its media type ends in."""

    NONE = ""
    GZIP = "+gzip"
    ZSTD = "+zstd"


def compress_layer(content: IO[bytes], store: ImageStore, *, compression: Compression) -> Descriptor:
    """Store a layer that is there as an archive; one that is compressed already is stored as it is."""
    first = content.read(BLOCK)
    kind = next((kind for magic, kind in _MAGIC.items() if first.startswith(magic)), None)
    with store.writer() as blob:
        outer = Hashing(blob)
        with _compressing(outer, compression if kind is None else Compression.NONE) as compressor:
            block = first
            while block:
                compressor.write(block)
                block = content.read(BLOCK)
        descriptor = Descriptor(media_type=LAYER + (kind or compression).value, digest=outer.digest, size=outer.size)
        blob.commit(descriptor.digest)
    return descriptor


#: What compressed archives begin with.
_MAGIC = {b"\x1f\x8b": Compression.GZIP, b"\x28\xb5\x2f\xfd": Compression.ZSTD}


class Kind(Enum):
    """What an entry is."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a layer holds.

    Attributes:
        name: Its path in the image, without a slash at the beginning.
        kind: What it is.
        source: File to read the content from.
        content: The content itself, where there is no file.
        target: What a symbolic link says.
        executable: Whether the file may be run.
        owner: Numeric user and group.
    """

    name: str
    kind: Kind = Kind.FILE
    source: Path | None = None
    content: bytes = b""
    target: str = ""
    executable: bool = False
    owner: int = 0


def file(name: str, content: str | bytes, *, executable: bool = False) -> Entry:
    """A file with the given content."""
    return Entry(name=name, content=content.encode() if isinstance(content, str) else content, executable=executable)


def link(name: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(name=name, kind=Kind.LINK, target=target)


def directory(name: str, *, owner: int = 0) -> Entry:
    """A directory; those above files need not be named."""
    return Entry(name=name, kind=Kind.DIRECTORY, owner=owner)


class Stopped(Exception):  # noqa: N818 (nothing went wrong with this layer)
    """Nobody wants the layer any more."""


def write_layer(
    entries: Iterable[Entry], store: ImageStore, *, compression: Compression, made_by: str, stopped: threading.Event | None = None
) -> Layer:
    """Write a layer into a store.

    Args:
        entries: What it holds.
        store: The store.
        compression: How it is compressed.
        made_by: What it is, for those who look at the image.
        stopped: Is set by another thread when nobody wants the layer any more.

    Raises:
        OutsideFailed: A file cannot be read, or changed while it was; the disk is full.
        Stopped: Nobody wants the layer any more.
    """
    with store.writer() as blob:
        outer = Hashing(blob)
        with _compressing(outer, compression) as compressor:
            # What is not compressed need not be hashed twice.
            inner = outer if compression is Compression.NONE else Hashing(compressor)
            _write_archive(entries, inner if stopped is None else _Stoppable(inner, stopped))
        descriptor = Descriptor(media_type=LAYER + compression.value, digest=outer.digest, size=outer.size)
        blob.commit(descriptor.digest)
    return Layer(descriptor=descriptor, diff_id=inner.digest, made_by=made_by)


def files_below(root: Path, prefix: str) -> Iterator[Entry]:
    """Entries for all that is in a directory, below ``prefix`` in the image. Sockets and the like are left out."""
    for place, directories, names in os.walk(root):
        base = Path(place)
        links = [name for name in directories if (base / name).is_symlink()]
        for name in (*names, *links):
            path = base / name
            inner = f"{prefix}/{path.relative_to(root).as_posix()}"
            if (entry := entry_of(path, inner)) is not None:
                yield entry


def entry_of(path: Path, name: str, *, owner: int = 0) -> Entry | None:
    """The entry for a file or symbolic link of this machine; ``None`` for anything else."""
    if path.is_symlink():
        return Entry(name=name, kind=Kind.LINK, target=str(path.readlink()), owner=owner)
    if not path.is_file():
        return None
    return Entry(name=name, source=path, executable=os.access(path, os.X_OK), owner=owner)


def _write_archive(entries: Iterable[Entry], sink: Sink) -> None:
    with tarfile.open(fileobj=_Writer(sink), mode="w|", format=tarfile.PAX_FORMAT, bufsize=BLOCK) as archive:
        for entry in _with_directories(entries):
            info = _header(entry)
            if entry.kind is not Kind.FILE or entry.source is None:
                archive.addfile(info, io.BytesIO(entry.content) if entry.kind is Kind.FILE else None)
                continue
            _add_file(archive, info, entry.source)


def _add_file(archive: tarfile.TarFile, info: tarfile.TarInfo, source: Path) -> None:
    try:
        with source.open("rb") as content:
            info.size = os.fstat(content.fileno()).st_size
            archive.addfile(info, content)
    except OSError as error:  # of this file: what goes wrong where the layer is written has been explained there
        why = error.strerror or "it changed while it was read"
        raise OutsideFailed(f"'{source}' cannot be put into the image: {why}") from error


def _with_directories(entries: Iterable[Entry]) -> list[Entry]:
    """All entries, with the directories above them, in the one order that there is."""
    named = {entry.name: entry for entry in entries}
    for name, entry in list(named.items()):
        parts = name.split("/")
        for depth in range(1, len(parts)):
            parent = "/".join(parts[:depth])
            if parent not in named:
                # The directories of the project belong to its owner, those of the system above it do not.
                named[parent] = Entry(name=parent, kind=Kind.DIRECTORY, owner=entry.owner if depth > 1 else 0)
    return [named[name] for name in sorted(named)]


def _header(entry: Entry) -> tarfile.TarInfo:
    info = tarfile.TarInfo(entry.name)
    info.mtime = EPOCH_SECONDS
    info.uid = info.gid = entry.owner
    if entry.kind is Kind.DIRECTORY:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    elif entry.kind is Kind.LINK:
        info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, entry.target
    else:
        info.mode, info.size = (0o755 if entry.executable else 0o644), len(entry.content)
    return info


class _Stoppable:
    """Passes bytes on for as long as somebody wants them."""

    def __init__(self, sink: Sink, stopped: threading.Event) -> None:
        self._sink = sink
        self._stopped = stopped

    def write(self, data: bytes) -> None:
        if self._stopped.is_set():
            raise Stopped
        self._sink.write(data)


class _Writer(io.RawIOBase):
    """What ``tarfile`` wants of a file: no more than that it can be written to."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, data: bytes) -> int:  # type: ignore[override] # a buffer of bytes is all that it is given
        self._sink.write(data)
        return len(data)


class _Compressor(Protocol):
    def write(self, data: bytes, /) -> object: ...


@contextlib.contextmanager
def _compressing(sink: Sink, compression: Compression) -> Iterator[_Compressor]:
    if compression is Compression.NONE:
        yield sink
    elif compression is Compression.GZIP:
        with contextlib.closing(_Gzip(sink)) as gzip:
            yield gzip
            gzip.finish()
    else:
        import zstandard

        # With two threads or more the bytes are always the same, with one they are others: so never one.
        compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, threads=max(2, os.cpu_count() or 2), write_checksum=True)
        with compressor.stream_writer(cast("IO[bytes]", _Unclosed(sink)), write_size=BLOCK) as stream:
            yield stream


class _Gzip:
    """Compresses pieces of the stream at the same time, on as many cores as there are; the bytes do not depend on how many.

    Each piece may refer back to the end of the one before, and ends on a whole byte, so that they can be joined. The header has
    neither a name nor a time.
    """

    _PIECE = 1024 * 1024
    _WINDOW = 32 * 1024
    _HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    _LAST = b"\x03\x00"  # an empty piece that says that it is the last

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._cores = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._cores, thread_name_prefix="gzip")
        self._begun: collections.deque[Future[bytes]] = collections.deque()
        self._rest = bytearray()
        self._tail = b""
        self._checksum = 0
        self._size = 0
        sink.write(self._HEADER)

    def write(self, data: bytes) -> None:
        self._checksum = zlib.crc32(data, self._checksum)
        self._size += len(data)
        self._rest += data
        while len(self._rest) >= self._PIECE:
            self._begin(bytes(self._rest[: self._PIECE]))
            del self._rest[: self._PIECE]

    def finish(self) -> None:
        if self._rest:
            self._begin(bytes(self._rest))
        while self._begun:
            self._sink.write(self._begun.popleft().result())
        self._sink.write(self._LAST + struct.pack("<II", self._checksum, self._size & 0xFFFFFFFF))

    def close(self) -> None:
        """End the threads, whatever has happened."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _begin(self, piece: bytes) -> None:
        self._begun.append(self._pool.submit(_deflated, piece, self._tail))
        self._tail = piece[-self._WINDOW :]
        while len(self._begun) > 2 * self._cores:  # so that memory stays flat
            self._sink.write(self._begun.popleft().result())


def _deflated(piece: bytes, before: bytes) -> bytes:
    deflate = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=before)
    return deflate.compress(piece) + deflate.flush(zlib.Z_SYNC_FLUSH)


class _Unclosed(io.RawIOBase):
    """Outlives the compressor that writes to it."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, data: bytes) -> int:  # type: ignore[override] # a buffer of bytes is all that it is given
        self._sink.write(data)
        return len(data)
