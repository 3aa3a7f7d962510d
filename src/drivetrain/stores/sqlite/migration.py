"""Bring a database file to the newest schema: numbered scripts, each applied once and written down.

A fresh file goes the same way as an old one, through every script. A script that has been released is never changed.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drivetrain.stores.failure import StoreDamaged, StoreTooNew

_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")


@dataclass(frozen=True, kw_only=True)
class Migration:
    """A step from one version of a schema to the next."""

    version: int
    name: str
    script: str


def migrations_in(directory: Path) -> list[Migration]:
    """The migrations in a directory, in order."""
    found = []
    for file in sorted(directory.glob("*.sql")):
        match = _FILE_NAME.fullmatch(file.name)
        assert match, file
        found.append(Migration(version=int(match[1]), name=match[2], script=file.read_text(encoding="utf-8")))
    assert [migration.version for migration in found] == list(range(1, len(found) + 1)), directory
    return found


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration], *, application_id: int, path: Path) -> None:
    """Apply what a database does not have yet. Each script is a transaction.

    Args:
        connection: In autocommit mode.
        migrations: All there are, in order.
        application_id: What SQLite's header says of files that are ours, so that no other program's file is taken for one.
        path: Of the file, for messages.

    Raises:
        StoreTooNew: It has one that we do not know.
        StoreDamaged: It is another program's database.
    """
    _check_whose(connection, application_id, path)
    applied = _version(connection)
    newest = migrations[-1].version
    if applied > newest:
        raise StoreTooNew(
            f"'{path}' has schema version {applied}, and this drivetrain knows versions up to {newest}",
            hint="use the newer drivetrain that wrote it",
        )
    for migration in migrations[applied:]:
        connection.executescript(
            f"BEGIN IMMEDIATE;\n"
            f"PRAGMA application_id = {application_id};\n"
            f"{_TABLE}\n"
            f"{migration.script}\n"
            f"INSERT INTO migration (version, name) VALUES ({migration.version}, '{migration.name}');\n"
            f"COMMIT;"
        )


_TABLE = """
CREATE TABLE IF NOT EXISTS migration (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);
"""


def _check_whose(connection: sqlite3.Connection, application_id: int, path: Path) -> None:
    (found,) = connection.execute("PRAGMA application_id").fetchone()
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if objects and found != application_id:
        raise StoreDamaged(f"'{path}' is another program's database", hint="name another directory, or move the file away")


def _version(connection: sqlite3.Connection) -> int:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'migration'").fetchone():
        return 0
    (version,) = connection.execute("SELECT coalesce(max(version), 0) FROM migration").fetchone()
    return int(version)
