"""Opening a database file, in whatever state it is."""

import asyncio
import os
import sqlite3
import sys
import threading

import pytest

from drivetrain.stores.failure import DiskFull, StoreDamaged, StoreFailed, StoreInUse, StoreTooNew
from drivetrain.stores.sqlite import open_store
from drivetrain.stores.sqlite.database import open_database
from drivetrain.stores.sqlite.migration import Migration

pytestmark = pytest.mark.anyio

MIGRATIONS = [Migration(version=1, name="first", script="CREATE TABLE thing (name TEXT PRIMARY KEY);")]
HOLDER = """
import asyncio, sys
from pathlib import Path
from drivetrain.stores.sqlite import open_store

async def main():
    store = await open_store(Path(sys.argv[1]))
    print("open", flush=True)
    sys.stdin.read()
    await store.close()

asyncio.run(main())
"""


async def open_things(path):
    return await open_database(path, MIGRATIONS, application_id=7)


async def test_commits_are_durable(tmp_path):
    database = await open_things(tmp_path / "x.db")
    assert await database.write(lambda connection: connection.execute("PRAGMA journal_mode").fetchone()) == ("wal",)
    assert await database.write(lambda connection: connection.execute("PRAGMA synchronous").fetchone()) == (2,)
    await database.aclose()


async def test_nobody_else_may_read_the_files(tmp_path):
    database = await open_things(tmp_path / "x.db")
    await database.execute("INSERT INTO thing VALUES ('a')")
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes.keys() >= {"x.db", "x.db-wal", "x.db.lock"}
    assert set(modes.values()) == {0o600}
    await database.aclose()


async def test_a_closed_database_is_one_file_and_a_lock(tmp_path):
    database = await open_things(tmp_path / "x.db")
    await database.execute("INSERT INTO thing VALUES ('a')")
    await database.aclose()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.db", "x.db.lock"]


async def test_readers_see_one_state_and_do_not_wait_for_the_writer(tmp_path):
    database = await open_things(tmp_path / "x.db")
    count = "SELECT count(*) FROM thing"
    began, goes_on = threading.Event(), threading.Event()

    def read_twice(connection):
        before = connection.execute(count).fetchone()
        began.set()
        goes_on.wait(30)
        return before, connection.execute(count).fetchone()

    reading = asyncio.create_task(database.read(read_twice))
    await asyncio.to_thread(began.wait, 30)
    await database.execute("INSERT INTO thing VALUES ('a')")
    assert await database.fetch(count) == [(1,)]
    goes_on.set()
    assert await reading == ((0,), (0,))
    await database.aclose()


async def test_readers_cannot_write(tmp_path):
    database = await open_things(tmp_path / "x.db")
    with pytest.raises(StoreFailed, match="readonly"):
        await database.fetch("INSERT INTO thing VALUES ('a')")
    await database.aclose()


async def test_another_process_is_kept_out(tmp_path):
    path = tmp_path / "platform.db"
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, path, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert await holder.stdout.readline() == b"open\n"
    with pytest.raises(StoreInUse, match="another drivetrain") as caught:
        await open_store(path)
    assert str(path) in caught.value.message
    await holder.communicate(b"")
    assert holder.returncode == 0
    await (await open_store(path)).close()


async def test_a_file_of_a_newer_version_is_not_touched(tmp_path):
    database = await open_database(
        tmp_path / "x.db", [*MIGRATIONS, Migration(version=2, name="second", script="CREATE TABLE more (a);")], application_id=7
    )
    await database.aclose()
    before = (tmp_path / "x.db").read_bytes()
    with pytest.raises(StoreTooNew, match=r"version 2.*up to 1"):
        await open_things(tmp_path / "x.db")
    assert (tmp_path / "x.db").read_bytes() == before


@pytest.mark.parametrize("content", [b"no database at all, only text " * 200, b"SQLite format 3\0" + b"\xff" * 8192])
async def test_a_file_that_is_no_database_is_not_touched(tmp_path, content):
    (tmp_path / "x.db").write_bytes(content)
    with pytest.raises(StoreDamaged, match=r"x\.db"):
        await open_things(tmp_path / "x.db")
    assert (tmp_path / "x.db").read_bytes() == content


async def test_another_programs_database_is_not_touched(tmp_path):
    other = sqlite3.connect(tmp_path / "x.db")
    other.execute("CREATE TABLE theirs (a)")
    other.close()
    with pytest.raises(StoreDamaged, match="another program's"):
        await open_things(tmp_path / "x.db")


async def test_a_damaged_page_is_told(tmp_path):
    path = tmp_path / "x.db"
    database = await open_things(path)
    for number in range(200):
        await database.execute("INSERT INTO thing VALUES (?)", (f"{number}" * 100,))
    await database.aclose()
    content = bytearray(path.read_bytes())
    content[4096 * 4 :] = b"\xff" * (len(content) - 4096 * 4)
    path.write_bytes(content)
    database = await open_things(path)
    with pytest.raises(StoreDamaged, match="damaged"):
        await database.fetch("SELECT * FROM thing ORDER BY name")
    await database.aclose()


async def test_a_directory_that_is_not_there_is_told(tmp_path):
    with pytest.raises(StoreFailed, match="No such file"):
        await open_things(tmp_path / "nowhere" / "x.db")


async def test_a_failed_opening_holds_nothing(tmp_path):
    (tmp_path / "x.db").write_bytes(b"text " * 2000)
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(StoreDamaged):
            await open_things(tmp_path / "x.db")
    assert len(os.listdir("/proc/self/fd")) == descriptors
    (tmp_path / "x.db").unlink()
    await (await open_things(tmp_path / "x.db")).aclose()


async def test_a_full_disk_loses_nothing_and_work_goes_on_when_there_is_room(small_disk):
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 1_000_000)
    database = await open_things(small_disk / "x.db")
    written, failed = [], []

    async def insert(number, size):
        try:
            await database.execute("INSERT INTO thing VALUES (?)", (f"{number:08}" + "x" * size,))
            written.append(number)
        except DiskFull:
            failed.append(number)

    for batch in range(40):
        await asyncio.gather(*(insert(batch * 10 + number, 10_000) for number in range(10)))
    assert written
    assert failed
    kept = {int(name[:8]) for (name,) in await database.fetch("SELECT name FROM thing")}
    assert kept == set(written)
    ballast.unlink()
    await insert(99_999_999, 100)
    assert written[-1] == 99_999_999
    await database.aclose()
    database = await open_things(small_disk / "x.db")
    assert {int(name[:8]) for (name,) in await database.fetch("SELECT name FROM thing")} == set(written)
    assert await database.fetch("PRAGMA integrity_check") == [("ok",)]
    await database.aclose()
