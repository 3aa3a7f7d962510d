"""API keys and audit lines."""

from __future__ import annotations

from drivetrain.platform.key import ApiKey, AuditLine
from drivetrain.stores.codec import pack, to_microseconds, to_moment, unpack_as
from drivetrain.stores.sqlite.database import Database
from drivetrain.stores.sqlite.statements import key_statements


class SqliteKeyStore:
    """Keeps API keys in a database, and who did what."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = key_statements()

    async def add_key(self, key: ApiKey) -> None:
        """Add a key."""
        await self._database.execute(self._sql["add_key"], (key.id, key.digest, pack(key)))

    async def key_by_digest(self, digest: str) -> ApiKey | None:
        """The key with this digest."""
        rows = await self._database.fetch(self._sql["key_by_digest"], (digest,))
        return unpack_as(ApiKey, rows[0][0]) if rows else None

    async def keys(self) -> list[ApiKey]:
        """All of them, oldest first."""
        rows = await self._database.fetch(self._sql["keys"])
        return [unpack_as(ApiKey, value) for (value,) in rows]

    async def remove_key(self, key_id: str) -> bool:
        """Forget a key. Whether there was one."""
        return await self._database.execute(self._sql["remove_key"], (key_id,)) > 0

    async def add_audit_line(self, line: AuditLine) -> None:
        """Write down who did what."""
        row = (to_microseconds(line.at), line.actor, line.action, line.subject, line.detail)
        await self._database.execute(self._sql["add_audit_line"], row)

    async def audit_lines(self, *, limit: int = 100) -> list[AuditLine]:
        """The latest, newest first."""
        rows = await self._database.fetch(self._sql["audit_lines"], (limit,))
        return [
            AuditLine(at=to_moment(at), actor=actor, action=action, subject=subject, detail=detail)
            for at, actor, action, subject, detail in rows
        ]
