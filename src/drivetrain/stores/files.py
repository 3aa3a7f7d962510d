"""Files in a local directory: their content under their ids, their records in a small database beside it.

    DIR/records.db      who owns what, how large it is, when it expires (``sqlite/file_record``)
    DIR/ab/ab01…        the content of the file with that id

A record stands before the first byte is written and until the last one is deleted, so a crash leaves nothing that is not known of.
Content is written under its final name, which nobody knows before the record says that the file is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from drivetrain.model.errors import DrivetrainError
from drivetrain.platform.files import FileId, FileTooLarge, NewFile, Origin, QuotaExceeded, StoredFile
from drivetrain.stores.content_type import HEAD_BYTES, content_type
from drivetrain.stores.failure import DiskFull, StoreFailed
from drivetrain.stores.file_name import safe_name
from drivetrain.stores.sqlite.file_record import FileRecords, open_file_records

T = TypeVar("T")

_READ_BYTES = 256 * 1024

#: So much is gathered before a thread writes it: going to a thread costs as much as writing some 100 KB.
_WRITE_BYTES = 1024 * 1024

#: Slow disks are waited for in threads of our own, so that nothing else waits for them.
_THREADS = 4


class LocalFiles:
    """Implements ``FileStore`` in a directory. Made by ``open_files``; belongs to the event loop that it was opened in."""

    def __init__(self, directory: Path, records: FileRecords, new_id: Callable[[], FileId]) -> None:
        self._directory = directory
        self._records = records
        self._new_id = new_id
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="files")
        #: Files that calls under way are writing or deleting; what else is unsettled was left by a crash.
        self._under_way: set[FileId] = set()

    async def put(self, new: NewFile, content: AsyncIterator[bytes], *, now: datetime, limit: int, quota: int | None) -> StoredFile:
        """Store a file. When this returns, its content and record are on disk; when it raises, nothing is left.

        The content type is taken from the content's first bytes where it is not given or says nothing.

        Raises:
            FileTooLarge: There is more than ``limit`` bytes of it.
            QuotaExceeded: The owner's files would take more than ``quota`` bytes.
            OutsideFailed: The disk is full, or the like.
        """
        file_id = self._new_id()
        self._under_way.add(file_id)
        try:
            await self._records.expect(file_id, new, now)
            file = await self._receive(file_id, new, content, now=now, limit=limit, quota=quota)
            await self._records.keep(file, quota)
        except BaseException:
            await self._discard(file_id)
            raise
        finally:
            self._under_way.discard(file_id)
        return file

    async def get(self, file_id: FileId) -> StoredFile | None:
        """A file's record."""
        return await self._records.get(file_id)

    async def read(self, file: StoredFile, *, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """Its content, or the bytes from ``start`` up to and without ``stop``.

        Raises:
            StoreFailed: It is gone, or cannot be read.
        """
        position, end = start, file.size if stop is None else min(stop, file.size)
        whole = _Whole(self._path(file.id))
        try:
            while position < end:
                part = functools.partial(whole.read, position, min(_READ_BYTES, end - position))
                chunk = await self._in_thread(part, file.id)
                if not chunk:
                    raise StoreFailed(
                        f"file '{file.id}' ends after {position} of {file.size} bytes", hint="restore it from a backup"
                    )
                position += len(chunk)
                yield chunk
        finally:
            whole.close()

    async def find(
        self, *, owner: str, origin: Origin | None = None, before: tuple[datetime, str] | None = None, limit: int = 100
    ) -> list[StoredFile]:
        """An owner's files, newest first."""
        return await self._records.find(owner=owner, origin=origin, before=before, limit=limit)

    async def usage(self, owner: str) -> int:
        """How many bytes an owner's files take."""
        return await self._records.usage(owner)

    async def keep_until(self, file_id: FileId, expires_at: datetime | None) -> StoredFile | None:
        """Change when a file may be deleted; ``None`` is never. Its record as it is then, if there is such a file."""
        return await self._records.keep_until(file_id, expires_at)

    async def remove(self, file_id: FileId) -> bool:
        """Delete a file. Whether there was one."""
        self._under_way.add(file_id)
        try:
            if not await self._records.begin_removal(file_id):
                return False
            await self._delete(file_id)
            return True
        finally:
            self._under_way.discard(file_id)

    async def sweep(self, *, now: datetime, limit: int = 1000) -> int:
        """Delete files that have expired, and what a crash left half-written; how many."""
        await self._records.expire(now=now, limit=limit)
        left = await self._records.abandon(apart_from=self._under_way, limit=limit)
        troubles: list[DrivetrainError] = []
        for file_id in left:
            try:
                await self._delete(file_id)
            except DrivetrainError as error:  # one that cannot be deleted must not keep all others
                troubles.append(error)
        if troubles:
            raise troubles[0]
        return len(left)

    async def aclose(self) -> None:
        """Finish what is being written and close. May be called twice."""
        await self._records.aclose()
        await asyncio.to_thread(self._threads.shutdown)

    async def _receive(
        self, file_id: FileId, new: NewFile, content: AsyncIterator[bytes], *, now: datetime, limit: int, quota: int | None
    ) -> StoredFile:
        left = quota - await self._records.usage(new.owner) if quota is not None else limit
        gathered: list[bytes] = []
        gathered_bytes = 0
        part = _Part(self._path(file_id))
        try:
            async for chunk in content:
                gathered.append(chunk)
                gathered_bytes += len(chunk)
                if part.size + gathered_bytes > limit:
                    raise FileTooLarge(limit)
                if quota is not None and part.size + gathered_bytes > left:
                    raise QuotaExceeded(new.owner, quota)
                if gathered_bytes >= _WRITE_BYTES:
                    await self._in_thread(functools.partial(part.write, gathered), file_id)
                    gathered, gathered_bytes = [], 0
            await self._in_thread(functools.partial(part.finish, gathered), file_id)
        finally:
            part.close()
        name = safe_name(new.name)
        return StoredFile(
            id=file_id,
            owner=new.owner,
            name=name,
            content_type=content_type(new.content_type, name, part.head, is_whole=part.size == len(part.head)),
            size=part.size,
            sha256=part.sha256.hexdigest(),
            md5=part.md5.hexdigest(),
            origin=new.origin,
            created_at=now,
            expires_at=new.expires_at,
            prediction=new.prediction,
            metadata=new.metadata,
        )

    async def _discard(self, file_id: FileId) -> None:
        # Should this fail too, a sweep does it later. A full disk must not keep the content from being deleted, which makes room.
        with contextlib.suppress(DrivetrainError):
            await self._records.begin_removal(file_id)  # it is kept by now if the call was canceled at its very end
        with contextlib.suppress(DrivetrainError):
            await self._delete(file_id)

    async def _delete(self, file_id: FileId) -> None:
        await self._in_thread(functools.partial(self._path(file_id).unlink, missing_ok=True), file_id)
        await self._records.forget(file_id)

    def _path(self, file_id: FileId) -> Path:
        return self._directory / file_id[:2] / file_id

    async def _in_thread(self, work: Callable[[], T], file_id: FileId) -> T:
        try:
            return await self._to_its_end(work)
        except FileNotFoundError as error:
            raise StoreFailed(f"the content of file '{file_id}' is gone", hint="it was deleted meanwhile, or by hand") from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(
                    f"file '{file_id}' cannot be written: the disk is full", hint="make room, or delete files"
                ) from error
            raise StoreFailed(f"file '{file_id}' cannot be used: {error.strerror}", hint="see that the disk is well") from error

    async def _to_its_end(self, work: Callable[[], T]) -> T:
        """Do something in a thread. When this returns or raises, the thread is done with it, so what it used can be closed."""
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError:
            while not future.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait({future})
            future.exception()  # looked at, or the loop complains that nobody did
            raise
        return future.result()


async def open_files(directory: Path, new_id: Callable[[], FileId]) -> LocalFiles:
    """Open a directory of files, making it where there is none.

    Args:
        new_id: Gives ids: 26 random letters and digits.

    Raises:
        StoreFailed: As ``open_database``.
    """
    try:
        await asyncio.to_thread(directory.mkdir, mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreFailed(f"'{directory}' cannot be made: {error.strerror}", hint="name a directory that may be written") from error
    return LocalFiles(directory, await open_file_records(directory / "records.db"), new_id)


class _Whole:
    """A file while it is read; used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def read(self, position: int, size: int) -> bytes:
        """Up to so many bytes from a place on."""
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        return os.pread(self._descriptor, size, position)

    def close(self) -> None:
        """Give it up."""
        if self._descriptor is not None:
            os.close(self._descriptor)


class _Part:
    """A file while it is written; used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._changed_directories = [path.parent]
        self.size = 0
        self.head = b""
        self.sha256 = hashlib.sha256()
        self.md5 = hashlib.md5(usedforsecurity=False)

    def write(self, chunks: list[bytes]) -> None:
        """Add some content."""
        if self._descriptor is None:
            with contextlib.suppress(FileExistsError):
                self._path.parent.mkdir(mode=0o700)
                self._changed_directories.append(self._path.parent.parent)
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        data = memoryview(b"".join(chunks))
        if len(self.head) < HEAD_BYTES:
            self.head += bytes(data[: HEAD_BYTES - len(self.head)])
        self.sha256.update(data)
        self.md5.update(data)
        self.size += len(data)
        while data:
            data = data[os.write(self._descriptor, data) :]

    def finish(self, chunks: list[bytes]) -> None:
        """Add the last of it; all of it is on disk then."""
        self.write(chunks)
        assert self._descriptor is not None
        os.fsync(self._descriptor)
        for directory in self._changed_directories:
            _sync_directory(directory)

    def close(self) -> None:
        """Give it up."""
        if self._descriptor is not None:
            os.close(self._descriptor)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
