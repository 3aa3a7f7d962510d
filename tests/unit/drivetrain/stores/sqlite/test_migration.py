"""Bringing a file to the newest schema."""

import sqlite3

import pytest

from drivetrain.stores.failure import StoreTooNew
from drivetrain.stores.sqlite import migration as module
from drivetrain.stores.sqlite.migration import Migration, migrate, migrations_in

STEPS = [
    Migration(version=1, name="first", script="CREATE TABLE thing (name TEXT); INSERT INTO thing VALUES ('a;b');"),
    Migration(version=2, name="second", script="ALTER TABLE thing ADD COLUMN size INTEGER NOT NULL DEFAULT 0;"),
    Migration(version=3, name="third", script="CREATE INDEX thing_by_name ON thing (name);\n-- the end"),
]

PACKAGE = module.Path(module.__file__).parent


@pytest.fixture
def connect(tmp_path):
    opened = []

    def connect(name):
        opened.append(sqlite3.connect(tmp_path / name, isolation_level=None))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


def bring(connection, migrations):
    migrate(connection, migrations, application_id=7, path=module.Path("x.db"))
    return connection


def schema(connection):
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()


@pytest.mark.parametrize("directory", ["migrations", "file_migrations"])
def test_a_file_that_was_migrated_step_by_step_equals_a_fresh_one(connect, directory):
    released = migrations_in(PACKAGE / directory)
    old = connect("old.db")
    for count in range(1, len(released) + 1):
        bring(old, released[:count])
    assert schema(old) == schema(bring(connect("fresh.db"), released))
    assert old.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_steps_are_applied_once_and_written_down(connect):
    old = bring(connect("old.db"), STEPS[:1])
    bring(old, STEPS)
    bring(old, STEPS)
    assert schema(old) == schema(bring(connect("fresh.db"), STEPS))
    assert old.execute("SELECT version, name FROM migration").fetchall() == [(1, "first"), (2, "second"), (3, "third")]
    assert old.execute("SELECT * FROM thing").fetchall() == [("a;b", 0)]


def test_a_step_that_fails_leaves_the_step_before(connect):
    broken = Migration(version=2, name="broken", script="CREATE TABLE more (a); CREATE TABLE thing (again);")
    connection = bring(connect("x.db"), STEPS[:1])
    before = schema(connection)
    with pytest.raises(sqlite3.OperationalError):
        bring(connection, [STEPS[0], broken])
    connection.rollback()
    assert schema(connection) == before
    bring(connection, STEPS)


def test_a_newer_file_is_refused(connect):
    connection = bring(connect("x.db"), STEPS)
    with pytest.raises(StoreTooNew):
        bring(connection, STEPS[:2])


def test_released_migrations_are_numbered_without_gaps():
    for directory in ("migrations", "file_migrations"):
        assert migrations_in(PACKAGE / directory)
