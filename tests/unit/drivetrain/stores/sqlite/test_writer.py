"""The one thread that writes: many operations in a commit, each of them whole or not at all."""

import asyncio
import sqlite3
import threading

import pytest

from drivetrain.model.errors import InternalError
from drivetrain.stores.failure import StoreInUse
from drivetrain.stores.sqlite.writer import Writer

pytestmark = pytest.mark.anyio

INSERT = "INSERT INTO thing (name) VALUES (?)"


@pytest.fixture
def connection(tmp_path):
    connection = sqlite3.connect(tmp_path / "x.db", isolation_level=None, check_same_thread=False, timeout=0.05)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE thing (name TEXT PRIMARY KEY)")
    yield connection
    connection.close()


@pytest.fixture
async def writer(connection, tmp_path):
    writer = Writer(connection, tmp_path / "x.db")
    yield writer
    await writer.aclose()


@pytest.fixture
def commits(connection):
    """How often a transaction was committed: each entry is one."""
    seen = []
    connection.set_trace_callback(lambda statement: seen.append(statement) if statement == "COMMIT" else None)
    return seen


def names(tmp_path):
    connection = sqlite3.connect(tmp_path / "x.db")
    found = [name for (name,) in connection.execute("SELECT name FROM thing ORDER BY name")]
    connection.close()
    return found


def insert(name):
    return lambda connection: connection.execute(INSERT, (name,)).rowcount


async def test_what_an_operation_returns_comes_back(writer, tmp_path):
    assert await writer.run(insert("a")) == 1
    assert names(tmp_path) == ["a"]


async def test_operations_of_one_turn_of_the_loop_share_a_commit(writer, commits, tmp_path):
    assert await asyncio.gather(*(writer.run(insert(f"{number}")) for number in range(50))) == [1] * 50
    assert len(commits) == 1
    assert len(names(tmp_path)) == 50


async def test_operations_that_come_during_a_commit_share_the_next(writer, commits):
    began, goes_on = threading.Event(), threading.Event()
    first = asyncio.create_task(writer.run(lambda _: began.set() or goes_on.wait(30)))
    await asyncio.to_thread(began.wait, 30)
    others = []
    for number in range(20):
        others.append(asyncio.create_task(writer.run(insert(f"{number}"))))
        await asyncio.sleep(0)  # each of them in a turn of its own
    await asyncio.sleep(0)
    goes_on.set()
    await asyncio.gather(first, *others)
    assert len(commits) == 2


async def test_the_event_loop_goes_on_while_an_operation_is_slow(writer):
    goes_on = threading.Event()
    slow = asyncio.create_task(writer.run(lambda _: goes_on.wait(30)))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not slow.done()
    goes_on.set()
    assert await slow


async def test_a_transaction_that_lasts_takes_no_more(writer, commits):
    """Operations of 10 ms each: the first ones are told before the last one is run."""
    done = []

    async def one(number):
        await writer.run(lambda _: threading.Event().wait(0.01))
        done.append((number, len(commits)))

    await asyncio.gather(*(one(number) for number in range(9)))
    assert len(commits) >= 3
    assert done[0][1] < done[-1][1]


async def test_one_that_fails_harms_no_other(writer, tmp_path):
    def fail_halfway(connection):
        connection.execute(INSERT, ("half",))
        raise ValueError("no")

    operations = [insert("a"), fail_halfway, insert("b"), insert("a"), insert("c")]
    results = await asyncio.gather(*map(writer.run, operations), return_exceptions=True)
    assert [type(result) for result in results] == [int, ValueError, int, InternalError, int]
    assert names(tmp_path) == ["a", "b", "c"]


async def test_one_that_fails_before_it_writes_costs_no_commit(writer, commits):
    def refuse(_):
        raise ValueError("no")

    results = await asyncio.gather(*map(writer.run, [insert("a"), refuse, insert("b")]), return_exceptions=True)
    assert [type(result) for result in results] == [int, ValueError, int]
    assert len(commits) == 1


async def test_an_operation_whose_caller_has_gone_before_it_began_is_not_run(writer, tmp_path):
    goes_on = threading.Event()
    slow = asyncio.create_task(writer.run(lambda _: goes_on.wait(30)))
    await asyncio.sleep(0)
    gone = asyncio.create_task(writer.run(insert("gone")))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait({gone})
    goes_on.set()
    await slow
    await writer.run(insert("later"))
    assert names(tmp_path) == ["later"]


async def test_while_another_program_writes_operations_fail_and_go_on_afterwards(writer, tmp_path):
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    results = await asyncio.gather(*(writer.run(insert(f"{number}")) for number in range(5)), return_exceptions=True)
    assert [type(result) for result in results] == [StoreInUse] * 5
    other.execute("ROLLBACK")
    other.close()
    assert await writer.run(insert("a")) == 1
    assert names(tmp_path) == ["a"]


async def test_closing_finishes_what_was_ordered(connection, tmp_path):
    writer = Writer(connection, tmp_path / "x.db")
    orders = [asyncio.create_task(writer.run(insert(f"{number}"))) for number in range(5)]
    await asyncio.sleep(0)
    await writer.aclose()
    assert await asyncio.gather(*orders) == [1] * 5
    with pytest.raises(InternalError):
        await writer.run(insert("late"))
