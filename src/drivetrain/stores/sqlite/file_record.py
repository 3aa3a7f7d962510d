"""Records of files, for a store that keeps their content elsewhere.

A record is there before the first byte and after the last one: ``coming``, ``kept``, ``leaving``. Only kept ones are seen. So what
is interrupted leaves a record that says what to clean up, and nobody has to search a directory for what has none.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from drivetrain.model.errors import InternalError
from drivetrain.platform.files import FileId, NewFile, Origin, QuotaExceeded, StoredFile
from drivetrain.stores.codec import LATEST, optional_microseconds, pack, to_microseconds, unpack_as
from drivetrain.stores.sqlite.database import Database, open_database
from drivetrain.stores.sqlite.migration import migrations_in
from drivetrain.stores.sqlite.statements import file_statements

#: "dtrf", in SQLite's header of files that are ours.
_APPLICATION_ID = 0x64747266


class FileRecords:
    """Keeps records of files in a database of its own. Made by ``open_file_records``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = file_statements()

    async def expect(self, file_id: FileId, new: NewFile, now: datetime) -> None:
        """Write down that a file is going to come."""
        row = {"id": file_id, "owner": new.owner, "origin": new.origin.value, "created_at": to_microseconds(now)}
        await self._database.execute(self._sql["expect"], row)

    async def keep(self, file: StoredFile, quota: int | None) -> None:
        """Let a file that has come be seen. Its content must be on disk.

        Raises:
            QuotaExceeded: The owner's files would take more than ``quota`` bytes.
        """
        row = {"id": file.id, "size": file.size, "expires_at": optional_microseconds(file.expires_at), "value": pack(file)}

        def keep(connection: sqlite3.Connection) -> None:
            if quota is not None and self._usage(connection, file.owner) + file.size > quota:
                raise QuotaExceeded(file.owner, quota)
            if not connection.execute(self._sql["keep"], row).rowcount:
                raise InternalError(f"file '{file.id}' was not expected")

        await self._database.write(keep)

    async def get(self, file_id: FileId) -> StoredFile | None:
        """The record of a file that is kept."""
        rows = await self._database.fetch(self._sql["get"], (file_id,))
        return unpack_as(StoredFile, rows[0][0]) if rows else None

    async def keep_until(self, file_id: FileId, expires_at: datetime | None) -> StoredFile | None:
        """Change when a file that is kept expires; its record then."""

        def change(connection: sqlite3.Connection) -> StoredFile | None:
            row = connection.execute(self._sql["get"], (file_id,)).fetchone()
            if row is None:
                return None
            file: StoredFile = replace(unpack_as(StoredFile, row[0]), expires_at=expires_at)
            changes = {"id": file_id, "expires_at": optional_microseconds(expires_at), "value": pack(file)}
            connection.execute(self._sql["keep_until"], changes)
            return file

        return await self._database.write(change)

    async def find(
        self, *, owner: str, origin: Origin | None = None, before: tuple[datetime, str] | None = None, limit: int = 100
    ) -> list[StoredFile]:
        """An owner's files, newest first."""
        before_at, before_id = before or (None, "")
        parameters = {
            "owner": owner,
            "origin": origin.value if origin else None,
            "before_at": to_microseconds(before_at) if before_at else LATEST + 1,
            "before_id": before_id,
            "limit": limit,
        }
        return [unpack_as(StoredFile, value) for (value,) in await self._database.fetch(self._sql["find"], parameters)]

    async def usage(self, owner: str) -> int:
        """How many bytes an owner's kept files take."""
        return await self._database.read(lambda connection: self._usage(connection, owner))

    async def begin_removal(self, file_id: FileId) -> bool:
        """Let a file not be seen any more, before its content is deleted. Whether it was kept."""
        return await self._database.execute(self._sql["begin_removal"], (file_id,)) > 0

    async def expire(self, *, now: datetime, limit: int) -> list[FileId]:
        """Begin the removal of files that have expired."""
        parameters = {"now": to_microseconds(now), "limit": limit}
        rows = await self._database.write(lambda connection: connection.execute(self._sql["expire"], parameters).fetchall())
        return [file_id for (file_id,) in rows]

    async def abandon(self, *, apart_from: Collection[FileId], limit: int) -> list[FileId]:
        """Give up files that came or went when something was interrupted: from now on they cannot become kept."""
        rows = await self._database.fetch(self._sql["unsettled"], (limit + len(apart_from),))
        ids = json.dumps([file_id for (file_id,) in rows if file_id not in apart_from][:limit])
        # One that was coming when the rows were read may be kept by now, so the writer has the last word.
        rows = await self._database.write(lambda connection: connection.execute(self._sql["abandon"], {"ids": ids}).fetchall())
        return [file_id for (file_id,) in rows]

    async def forget(self, file_id: FileId) -> None:
        """Forget a file that is not kept. Its content must be gone."""
        await self._database.execute(self._sql["forget"], (file_id,))

    async def aclose(self) -> None:
        """Finish what is being written and close. May be called twice."""
        await self._database.aclose()

    def _usage(self, connection: sqlite3.Connection, owner: str) -> int:
        row = connection.execute(self._sql["usage"], (owner,)).fetchone()
        return row[0] if row else 0


async def open_file_records(path: Path) -> FileRecords:
    """Open records in a file, making it where there is none.

    Raises:
        StoreFailed: As ``open_database``.
    """
    migrations = migrations_in(Path(__file__).with_name("file_migrations"))
    return FileRecords(await open_database(path, migrations, application_id=_APPLICATION_ID))
