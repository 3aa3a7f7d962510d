"""Sealed secrets, and the platform's own values."""

from __future__ import annotations

import sqlite3

from drivetrain.platform.app import AppName
from drivetrain.platform.secret import SealedSecret
from drivetrain.stores.codec import to_microseconds, to_moment
from drivetrain.stores.sqlite.database import Database
from drivetrain.stores.sqlite.statements import secret_statements


class SqliteSecretStore:
    """Keeps sealed secrets in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = secret_statements()

    async def put_secret(self, secret: SealedSecret) -> None:
        """Add a secret, or replace the one of that name and reach."""
        row = (secret.owner, _reach(secret.app), secret.name, secret.sealed, to_microseconds(secret.updated_at))
        await self._database.execute(self._sql["put_secret"], row)

    async def secrets(self, owner: str) -> list[SealedSecret]:
        """An owner's, by app and name."""
        rows = await self._database.fetch(self._sql["secrets"], (owner,))
        return [
            SealedSecret(
                owner=owner, app=AppName(owner, app) if app else None, name=name, sealed=sealed, updated_at=to_moment(updated_at)
            )
            for app, name, sealed, updated_at in rows
        ]

    async def remove_secret(self, owner: str, app: AppName | None, name: str) -> bool:
        """Forget a secret. Whether there was one."""
        return await self._database.execute(self._sql["remove_secret"], (owner, _reach(app), name)) > 0

    async def value(self, name: str) -> bytes | None:
        """One of the platform's own values, such as the key that URLs are signed with."""
        rows = await self._database.fetch(self._sql["value"], (name,))
        return rows[0][0] if rows else None

    async def put_value(self, name: str, value: bytes, *, replace: bool = False) -> bytes:
        """Keep one of the platform's own values, unless there is one; the one that is kept then."""

        def put(connection: sqlite3.Connection) -> bytes:
            connection.execute(self._sql["put_value" if replace else "add_value"], (name, value))
            kept: bytes = connection.execute(self._sql["value"], (name,)).fetchone()[0]
            return kept

        return await self._database.write(put)


def _reach(app: AppName | None) -> str:
    return app.name if app is not None else ""
