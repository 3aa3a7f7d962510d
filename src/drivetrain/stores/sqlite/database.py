"""One SQLite file, its writer and its readers.

Durable means: on disk when a call returns (write-ahead log, ``synchronous=FULL``). Readers have connections and threads of their
own and see the last commit; they never wait for the writer, nor it for them. The event loop waits for none of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from drivetrain.model.errors import InternalError
from drivetrain.stores.failure import StoreFailed, StoreInUse
from drivetrain.stores.sqlite.migration import Migration, migrate
from drivetrain.stores.sqlite.trouble import translated
from drivetrain.stores.sqlite.writer import Writer

T = TypeVar("T")

Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]

#: STRICT tables; UPDATE ... RETURNING came with 3.35.
_LEAST_VERSION = (3, 37, 0)

#: How long a call waits for another program that holds the write lock, such as a shell looking in.
_BUSY_SECONDS = 5.0

_READERS = 3

#: Pages kept in memory by the writer, so that a queue of a million does not read its indexes from disk. Negative is KiB.
_WRITER_CACHE = -32_768

#: The write-ahead log is folded into the file when it has so many pages of 4 KiB, and shrunk to this size after a burst.
_FOLD_AT_PAGES = 2_000
_LOG_BYTES = 32 * 1024 * 1024


class Database:
    """An open database file. Belongs to the event loop that it was opened in; made by ``open_database``."""

    def __init__(self, path: Path, lock: int, connection: sqlite3.Connection) -> None:
        self.path = path
        self._lock = lock
        self._connection = connection
        self._writer = Writer(connection, path)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="store reader")
        self._own = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._is_closed = False

    async def write(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Run an operation in a transaction, possibly together with others (see ``writer``); returns when it is on disk.

        Raises:
            StoreFailed: The database could not be written; nothing was.
            Exception: What the operation raised; nothing was written.
        """
        return await self._writer.run(operation)

    async def read(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Run an operation that only reads, on one state of the database.

        Raises:
            StoreFailed: The database could not be read.
        """

        def consistently(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN")
            try:
                return operation(connection)
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")

        return await self._in_reader(consistently)

    async def execute(self, statement: str, parameters: Parameters = ()) -> int:
        """Run one statement that writes, as ``write`` does; how many rows it changed."""
        return await self.write(lambda connection: connection.execute(statement, parameters).rowcount)

    async def fetch(self, statement: str, parameters: Parameters = ()) -> list[Any]:
        """Run one statement that reads, as ``read`` does; its rows."""
        return await self._in_reader(lambda connection: connection.execute(statement, parameters).fetchall())

    async def aclose(self) -> None:
        """Finish what is being written and close. May be called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        await self._writer.aclose()
        await asyncio.to_thread(self._close)

    async def _in_reader(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        if self._is_closed:
            raise InternalError(f"'{self.path}' was closed and is read")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, operation)

    def _read(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        try:
            connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
            if connection is None:
                connection = self._own.connection = _connect(self.path)
                connection.execute("PRAGMA query_only = ON")
                self._opened.append(connection)
            return operation(connection)
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def _close(self) -> None:
        self._readers.shutdown()
        for connection in self._opened:
            connection.close()
        with contextlib.suppress(sqlite3.Error):  # what is in the log stays there, and is as durable
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()
        os.close(self._lock)


async def open_database(path: Path, migrations: Sequence[Migration], *, application_id: int) -> Database:
    """Open a database file, making it where there is none, and bring it to the newest schema.

    Raises:
        StoreInUse: Another process has it open.
        StoreTooNew: A newer drivetrain wrote it.
        StoreDamaged: It is no database, or another program's.
        StoreFailed: It cannot be opened or written.
    """
    lock, connection = await asyncio.to_thread(_open, path, migrations, application_id)
    return Database(path, lock, connection)


def _open(path: Path, migrations: Sequence[Migration], application_id: int) -> tuple[int, sqlite3.Connection]:
    if sqlite3.sqlite_version_info < _LEAST_VERSION:
        needed = ".".join(map(str, _LEAST_VERSION))
        raise StoreFailed(
            f"this Python brings SQLite {sqlite3.sqlite_version}, and {needed} or later is needed",
            hint="use a newer Python, such as one installed by uv",
        )
    with contextlib.ExitStack() as undo:
        lock = _acquire_lock(path)
        undo.callback(os.close, lock)
        try:
            path.touch(mode=0o600)  # before SQLite makes it for everybody to read; the files beside it get the same mode
            connection = _connect(path)
            undo.callback(connection.close)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_FOLD_AT_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
            connection.execute(f"PRAGMA cache_size = {_WRITER_CACHE}")
            migrate(connection, migrations, application_id=application_id, path=path)
        except sqlite3.Error as error:
            raise translated(error, path) from error
        undo.pop_all()
    return lock, connection


def _connect(path: Path) -> sqlite3.Connection:
    # Each connection is used by one thread at a time: the closing one uses it after its own has ended.
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _acquire_lock(path: Path) -> int:
    """Keep other processes of ours out. The kernel releases the lock when its holder dies."""
    beside = path.with_name(path.name + ".lock")
    try:
        lock = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreFailed(
            f"'{path}' cannot be opened: {error.strerror}", hint="see that the directory is there and may be written"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StoreInUse(
            f"'{path}' is in use by another drivetrain", hint="stop that one first, or name another directory"
        ) from error
    return lock
