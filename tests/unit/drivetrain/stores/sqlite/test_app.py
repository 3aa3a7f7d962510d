"""Rows that other versions of drivetrain have written."""

from datetime import datetime, timezone
from pathlib import Path

import pytest

from drivetrain.platform.app import App, AppName, Revision
from drivetrain.stores.codec import pack, unpack
from drivetrain.stores.sqlite.app import SqliteAppStore
from drivetrain.stores.sqlite.database import open_database
from drivetrain.stores.sqlite.migration import migrations_in
from drivetrain.stores.sqlite.opening import __file__ as opening_file

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
APP = App(name=AppName("alice", "hotdog"), created_at=NOW)
REVISION = Revision(id="a" * 64, app=APP.name, number=1, created_at=NOW, source="s")


@pytest.fixture
async def database(tmp_path):
    migrations = migrations_in(Path(opening_file).with_name("migrations"))
    database = await open_database(tmp_path / "x.db", migrations, application_id=1)
    yield database
    await database.aclose()


@pytest.mark.parametrize("table", ["app", "revision"])
async def test_fields_that_came_and_went_do_no_harm(database, table):
    """A field that is not known any more is dropped, and one that was not there yet gets its default."""
    apps = SqliteAppStore(database)
    await apps.put_app(APP)
    await apps.put_revision(REVISION)
    ((value,),) = await database.fetch(f"SELECT value FROM {table}")
    fields = unpack(value)
    del fields["labels"]
    await database.execute(f"UPDATE {table} SET value = ?", (pack({**fields, "gone": {"since": "long"}}),))
    assert await apps.apps() == [APP]
    assert await apps.revisions(APP.name) == [REVISION]
