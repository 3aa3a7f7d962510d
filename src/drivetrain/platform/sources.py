"""The projects that were uploaded, unpacked, by the digest of their content. Archives come from anybody who may deploy: hostile."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import shutil
import stat
import tarfile
import tempfile
import zlib
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from drivetrain.model.errors import BadRequest, OutsideFailed
from drivetrain.platform.app import AppName

_MOST_MEMBERS = 200_000
_CHUNK_BYTES = 1024 * 1024

#: How much larger a project may be than its archive: source code packs well, a bomb packs better.
_MOST_EXPANSION = 10


class BadArchive(BadRequest):
    """An upload is not an archive of a project."""

    code = "bad_archive"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the uploaded archive cannot be used: {reason}", hint="send a tar archive, plain or compressed by gzip")


@dataclass(frozen=True, kw_only=True)
class Source:
    """An uploaded project.

    Attributes:
        digest: SHA-256 over its files (names, modes, contents) and empty directories, in hexadecimal, however they were packed.
        path: Where it is unpacked. Read only by agreement.
    """

    digest: str
    path: Path


class Sources:
    """Owns the directory of uploaded projects, and what apps keep beside them.

    Args:
        directory: Where they go.
        data: Where apps keep what their runners share.
        archive_bytes: How large an archive may be.
    """

    def __init__(self, directory: Path, data: Path, archive_bytes: int) -> None:
        self._directory = directory
        self._data = data
        self._archive_bytes = archive_bytes

    def path(self, digest: str) -> Path:
        """Where a project is, or would be."""
        return self._directory / digest

    async def receive(self, archive: AsyncIterator[bytes]) -> Source:
        """Unpack an uploaded archive. Nothing is left if it cannot be.

        Raises:
            BadArchive: It is none, or holds what a project cannot.
            OutsideFailed: There is no room, or the like.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory(prefix=".incoming-", dir=self._directory) as scratch:
                packed = Path(scratch, "archive")
                await self._write(packed, archive)
                return await asyncio.to_thread(self._unpack, packed, Path(scratch, "project"))
        except OSError as error:
            raise OutsideFailed(f"the upload cannot be stored: {error.strerror or error}") from error

    async def remove(self, digest: str) -> None:
        """Delete a project. May be called twice."""
        await asyncio.to_thread(shutil.rmtree, self.path(digest), ignore_errors=True)

    def data_directory(self, app: AppName) -> Path:
        """The directory that all runners of an app share and that stays; made if it is not there."""
        path = self._data / app.owner / app.name
        path.mkdir(parents=True, exist_ok=True)
        return path

    async def remove_data(self, app: AppName) -> None:
        """Delete what an app's runners kept. May be called twice."""
        await asyncio.to_thread(shutil.rmtree, self._data / app.owner / app.name, ignore_errors=True)

    async def sweep(self, kept: Collection[str]) -> None:
        """Delete what uploads that were cut off or came to nothing have left. Only while none is under way.

        Args:
            kept: The digests of all that is needed.
        """

        def remove() -> None:
            for each in self._directory.glob("*"):
                if each.name not in kept:
                    shutil.rmtree(each, ignore_errors=True)

        await asyncio.to_thread(remove)

    async def _write(self, packed: Path, archive: AsyncIterator[bytes]) -> None:
        size = 0
        with packed.open("wb") as file:
            async for chunk in archive:
                size += len(chunk)
                if size > self._archive_bytes:
                    raise BadArchive(
                        f"it is larger than {self._archive_bytes} bytes; leave data and weights out with .dockerignore"
                    )
                await asyncio.to_thread(file.write, chunk)

    def _unpack(self, packed: Path, root: Path) -> Source:
        room = max(packed.stat().st_size * _MOST_EXPANSION, 64 * 1024 * 1024)
        root.mkdir()
        try:
            with tarfile.open(packed, "r:*") as archive:
                for count, member in enumerate(archive):
                    if count >= _MOST_MEMBERS:
                        raise BadArchive(f"it holds more than {_MOST_MEMBERS} files")
                    room -= member.size
                    if room < 0:
                        raise BadArchive(f"unpacked it is more than {_MOST_EXPANSION} times as large")
                    _extract(archive, member, root)
        except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
            raise BadArchive(str(error)) from error
        digest = _digest(root)
        target = self.path(digest)
        try:
            root.rename(target)
        except OSError:
            if not target.is_dir():  # else it was uploaded before
                raise
        return Source(digest=digest, path=target)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, root: Path) -> None:
    """Write one member below the root, and nowhere else.

    ``tarfile``'s own filters are missing from the Python of Debian 12, and what is allowed here is less: directories, files, and
    links that stay inside.
    """
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\0" in member.name:
        raise BadArchive(f"'{member.name}' leads out of the project")
    target = root.joinpath(*name.parts)
    if target == root:
        return
    _require_real_parents(target.parent, root, member.name)
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or target.exists():
        raise BadArchive(f"'{member.name}' is in it twice")
    if member.issym():
        inside = os.path.normpath(os.path.join(name.parent, member.linkname))  # noqa: PTH118 (a text, not a place)
        if PurePosixPath(member.linkname).is_absolute() or inside.startswith(".."):
            raise BadArchive(f"the link '{member.name}' leads out of the project")
        target.symlink_to(member.linkname)
        return
    content = archive.extractfile(member) if member.isreg() else None
    if content is None:
        raise BadArchive(f"'{member.name}' is neither file, directory nor link")
    with content, target.open("xb") as file:
        shutil.copyfileobj(content, file, _CHUNK_BYTES)
    target.chmod(0o755 if member.mode & stat.S_IXUSR else 0o644)


def _require_real_parents(directory: Path, root: Path, name: str) -> None:
    """Nothing is written through a link that came before it in the same archive."""
    while directory != root:
        if directory.is_symlink():
            raise BadArchive(f"'{name}' lies behind a link")
        directory = directory.parent


def _digest(root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            digest.update(f"link {name}\0{os.readlink(path)}\0".encode("utf-8", "surrogateescape"))  # noqa: PTH115 (as written)
        elif path.is_file():
            kind = "program" if path.stat().st_mode & stat.S_IXUSR else "file"
            digest.update(f"{kind} {name}\0{_file_digest(path)}\0".encode("utf-8", "surrogateescape"))
        elif not any(path.iterdir()):
            digest.update(f"directory {name}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
