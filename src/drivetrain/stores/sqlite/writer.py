"""The one thread that writes, with group commit.

An fsync costs as much as many small writes. So operations that come while a commit is under way go together into the next
transaction, and their callers hear of it after that commit, in one message to the event loop. Operations that come in one turn of
the loop are handed over together, at its end.

Operations share a transaction without savepoints, since all but a few succeed. One that raises before it has written anything (a
full queue) harms nobody. If one raises later, or the commit fails, the transaction is rolled back and each operation is run again
in a transaction of its own: the guilty one fails alone. So an operation may be run twice and must have no effect but on the
database.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from drivetrain.model.errors import InternalError
from drivetrain.stores.sqlite.trouble import translated

T = TypeVar("T")

#: A transaction takes no more operations once it has lasted this long, so that the first ones are not kept waiting for the last.
_FULL_SECONDS = 0.02


@dataclass(frozen=True)
class _Order:
    """An operation that waits, and the future of its caller, which only the event loop touches."""

    operation: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]


@dataclass(frozen=True)
class _Result:
    """What came of an order."""

    future: asyncio.Future[Any]
    value: Any = None
    error: BaseException | None = None


class Writer:
    """Runs operations on a connection that it alone uses. Belongs to the event loop that it is made in.

    Args:
        connection: In autocommit mode, usable from any thread.
        path: Of the database, for messages.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._gathered: list[_Order] = []
        self._inbox: queue.SimpleQueue[list[_Order] | None] = queue.SimpleQueue()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="store writer", daemon=True)
        self._thread.start()

    async def run(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Run an operation in a transaction; returns after the commit.

        If the call is canceled before the operation has begun, it is not run.

        Raises:
            StoreFailed: The database could not be written; nothing was.
            Exception: What the operation raised; nothing was written.
        """
        if self._is_closed:
            raise InternalError(f"'{self._path}' was closed and is written to")
        future: asyncio.Future[T] = self._loop.create_future()
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append(_Order(operation, future))
        return await future

    async def aclose(self) -> None:
        """Carry out what has been ordered, and end. May be called twice."""
        self._is_closed = True
        self._hand_over()
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)

    def _hand_over(self) -> None:
        if self._gathered:
            orders, self._gathered = self._gathered, []
            self._inbox.put(orders)

    # From here on, in the thread.

    def _work(self) -> None:
        waiting: list[_Order] = []
        is_last = False
        while not is_last or waiting:
            if not waiting:
                received = self._inbox.get()
                is_last = received is None
                waiting += received or ()
            with contextlib.suppress(queue.Empty):
                while not is_last:
                    received = self._inbox.get_nowait()
                    is_last = received is None
                    waiting += received or ()
            if waiting:
                results = self._carry_out(waiting)
                del waiting[: len(results)]
                with contextlib.suppress(RuntimeError):  # the loop is closed, and with it everybody who could hear
                    self._loop.call_soon_threadsafe(_tell, results)

    def _carry_out(self, orders: Sequence[_Order]) -> list[_Result]:
        """Run some of the orders, the first ones; their results, which are on disk."""
        results: list[_Result] = []
        try:
            if self._run_together(orders, results):
                return results
        except Exception as error:  # noqa: BLE001 (memory may be short too; the thread must outlive everything)
            if not results:  # not even begun; the others would fare no better
                return [self._failed(order, error) for order in orders]
        finally:
            self._roll_back()
        return [self._run_alone(order) for order in orders[: len(results)]]

    def _run_together(self, orders: Sequence[_Order], results: list[_Result]) -> bool:
        """Run orders in one transaction until it is full; whether all of them went well. Adds to ``results`` as far as it comes."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        full_at = time.monotonic() + _FULL_SECONDS
        for order in orders:
            written = connection.total_changes
            results.append(self._run(order))
            if results[-1].error is not None and (connection.total_changes != written or not connection.in_transaction):
                return False
            if time.monotonic() > full_at:
                break
        connection.execute("COMMIT")
        return True

    def _run_alone(self, order: _Order) -> _Result:
        results: list[_Result] = []
        try:
            self._run_together([order], results)
            return results[0]
        except Exception as error:  # noqa: BLE001 (as above)
            return self._failed(order, error)
        finally:
            self._roll_back()

    def _run(self, order: _Order) -> _Result:
        if order.future.cancelled():
            return _Result(order.future)
        try:
            return _Result(order.future, order.operation(self._connection))
        except Exception as error:  # noqa: BLE001 (whatever it is, it is raised where the operation was asked for)
            return self._failed(order, error)

    def _failed(self, order: _Order, error: Exception) -> _Result:
        return _Result(order.future, error=translated(error, self._path) if isinstance(error, sqlite3.Error) else error)

    def _roll_back(self) -> None:
        """Give up a transaction that is still open; SQLite may have done so by itself."""
        if self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")


def _tell(results: Sequence[_Result]) -> None:
    for result in results:
        if result.future.done():  # canceled meanwhile
            continue
        if result.error is None:
            result.future.set_result(result.value)
        else:
            result.future.set_exception(result.error)
