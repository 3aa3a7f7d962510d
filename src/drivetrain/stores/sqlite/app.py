"""Apps and revisions."""

from __future__ import annotations

import dataclasses
import functools
import sqlite3
from collections.abc import Sequence
from typing import Any, get_type_hints

import msgspec

from drivetrain.model.signature import Signature
from drivetrain.platform.app import App, AppName, Revision, RevisionId
from drivetrain.stores.codec import pack, unpack, unpack_as
from drivetrain.stores.sqlite.database import Database
from drivetrain.stores.sqlite.statements import app_statements

_SIGNATURES = ("signature", "train_signature")


class SqliteAppStore:
    """Keeps apps and revisions in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = app_statements()

    async def put_app(self, app: App) -> None:
        """Add an app, or replace the value kept under its name."""
        row = (app.name.owner, app.name.name, pack(app))
        await self._database.execute(self._sql["put_app"], row)

    async def get_app(self, name: AppName) -> App | None:
        """An app by its name."""
        value = await self._value("get_app", (name.owner, name.name))
        return None if value is None else unpack_as(App, value)

    async def apps(self) -> list[App]:
        """All of them, by name."""
        rows = await self._database.fetch(self._sql["apps"])
        return [unpack_as(App, value) for (value,) in rows]

    async def remove_app(self, name: AppName) -> bool:
        """Forget an app, its revisions, secrets and predictions. Whether there was one.

        Its predictions are gone for everybody at once. Their rows go with ``QueueStore.forget``, since there may be a million.
        """
        key = (name.owner, name.name)

        def remove(connection: sqlite3.Connection) -> bool:
            connection.execute(self._sql["remove_revisions"], key)
            connection.execute(self._sql["remove_secrets"], key)
            connection.execute(self._sql["take_claims_away"], key)
            connection.execute(self._sql["remove_queue"], key)
            return connection.execute(self._sql["remove_app"], key).rowcount > 0

        return await self._database.write(remove)

    async def put_revision(self, revision: Revision) -> None:
        """Add a revision, or replace the value kept under its id."""
        row = (revision.id, revision.app.owner, revision.app.name, revision.number, _pack_revision(revision))
        await self._database.execute(self._sql["put_revision"], row)

    async def next_revision_number(self, app: AppName) -> int:
        """One more than the highest number among the app's revisions."""
        return int(await self._value("next_revision_number", (app.owner, app.name)))

    async def get_revision(self, revision_id: RevisionId) -> Revision | None:
        """A revision by its id."""
        value = await self._value("get_revision", (revision_id,))
        return None if value is None else _unpack_revision(value)

    async def revisions(self, app: AppName) -> list[Revision]:
        """An app's revisions, newest first."""
        rows = await self._database.fetch(self._sql["revisions"], (app.owner, app.name))
        return [_unpack_revision(value) for (value,) in rows]

    async def remove_revision(self, revision_id: RevisionId) -> bool:
        """Forget a revision, unless a prediction of it waits or runs. Whether it was forgotten."""
        return await self._database.execute(self._sql["remove_revision"], {"id": revision_id}) > 0

    async def _value(self, statement: str, parameters: Sequence[str]) -> Any:
        rows = await self._database.fetch(self._sql[statement], parameters)
        return rows[0][0] if rows else None


def _pack_revision(revision: Revision) -> bytes:
    """Its signatures go in their wire form: types are a union of dataclasses, which could not be told apart when they are read."""
    fields = {field.name: getattr(revision, field.name) for field in dataclasses.fields(Revision)}
    for name in _SIGNATURES:
        fields[name] = fields[name].to_wire() if fields[name] is not None else None
    return pack(fields)


def _unpack_revision(data: bytes) -> Revision:
    kept = unpack(data)
    # What has been added to revisions since gets its default, and what has been taken from them is dropped.
    fields = {name: msgspec.convert(kept[name], kind) for name, kind in _plain_fields().items() if name in kept}
    for name in _SIGNATURES:
        if kept.get(name) is not None:
            fields[name] = Signature.from_wire(kept[name])
    return Revision(**fields)


@functools.cache
def _plain_fields() -> dict[str, Any]:
    return {name: kind for name, kind in get_type_hints(Revision).items() if name not in _SIGNATURES}
