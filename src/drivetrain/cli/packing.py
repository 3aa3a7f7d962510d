"""Pack a project for the platform: the files that would go into its image, as an archive that is the same for the same content.

The archive is made while it is sent, so a large project costs no memory and no room on disk.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import fstat
from pathlib import Path

from drivetrain.images import layout
from drivetrain.images.archive import Entry, Kind
from drivetrain.images.files import project_files
from drivetrain.model.errors import OutsideFailed
from drivetrain.model.finding import Finding
from drivetrain.model.project import Project

_CHUNK_BYTES = 256 * 1024
_GZIP = 16 + zlib.MAX_WBITS

#: Fast rather than small: most of what is large has been compressed before.
_LEVEL = 1


@dataclass(frozen=True, kw_only=True)
class PackedProject:
    """What is sent.

    Attributes:
        entries: By name.
        size: Bytes of all files.
        left_out: What was left out without having been asked for.
    """

    entries: tuple[Entry, ...]
    size: int
    left_out: tuple[Finding, ...]

    def chunks(self) -> Iterator[bytes]:
        """The archive, in pieces: tar, compressed by gzip.

        Raises:
            OutsideFailed: A file cannot be read, or changes while it is.
        """
        deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        for piece in _tar(self.entries):
            if packed := deflate.compress(piece):
                yield packed
        yield deflate.flush()


def pack(project: Project) -> PackedProject:
    """Choose what is sent.

    Raises:
        ProjectError: A link leads out of the project; names all that do.
    """
    files = project_files(project)
    prefix = layout.inner(f"{layout.SOURCE}/")
    found = [*files.code, *(entry for group in files.weights for entry in group)]
    entries = sorted(found, key=lambda entry: entry.name)
    size = sum(entry.source.stat().st_size for entry in entries if entry.source is not None)
    return PackedProject(entries=tuple(_inside(entry, prefix) for entry in entries), size=size, left_out=files.left_out)


def _inside(entry: Entry, prefix: str) -> Entry:
    """An entry by its name in the project, not in an image."""
    return Entry(
        name=entry.name.removeprefix(prefix),
        kind=entry.kind,
        source=entry.source,
        content=entry.content,
        target=entry.target,
        executable=entry.executable,
    )


def _tar(entries: Iterable[Entry]) -> Iterator[bytes]:
    for entry in entries:
        info = tarfile.TarInfo(entry.name)
        if entry.kind is Kind.LINK:
            info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, entry.target
            yield _header(info)
        elif entry.kind is Kind.DIRECTORY:
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            yield _header(info)
        elif entry.source is not None:
            info.mode = 0o755 if entry.executable else 0o644
            yield from _file(info, entry.source)
    yield b"\0" * tarfile.BLOCKSIZE * 2


def _file(info: tarfile.TarInfo, source: Path) -> Iterator[bytes]:
    try:
        with source.open("rb") as content:
            info.size = left = fstat(content.fileno()).st_size
            yield _header(info)
            while left:
                chunk = content.read(min(_CHUNK_BYTES, left))
                if not chunk:
                    raise OutsideFailed(
                        f"'{source}' became shorter while it was sent", hint="deploy again when nothing writes to it"
                    )
                left -= len(chunk)
                yield chunk
    except OSError as error:
        raise OutsideFailed(f"'{source}' cannot be read: {error.strerror or error}") from error
    yield b"\0" * (-info.size % tarfile.BLOCKSIZE)


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
