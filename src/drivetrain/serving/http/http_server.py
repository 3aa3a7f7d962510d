"""Listens, and ends without cutting off those who wait for an answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from drivetrain.serving.http.client_connection import ClientConnection, Work
from drivetrain.serving.http.exchange import Exchange

#: How long a client may send nothing when it is its turn, or read nothing of an answer that waits for it.
_PATIENCE_SECONDS = 60.0

#: How often within that time all connections are looked over.
_INSPECTIONS = 4

_BACKLOG = 2048


class HttpServer:
    """The connections of all clients of one handler, and the tasks that answer them. Starts once. Implements ``Home``.

    Args:
        handle: Answers a request now, later, or by the work that it returns; raises nothing.
        body_limit: Bytes that a request's body may have.
        extra_headers: Sent with every answer.
    """

    def __init__(
        self,
        handle: Callable[[Exchange], Work],
        *,
        body_limit: int = 100 * 1024 * 1024,
        extra_headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self.handle = handle
        self.body_limit = body_limit
        self.extra_headers = b"".join(b"%s: %s\r\n" % header for header in extra_headers)
        self._listeners: list[asyncio.Server] = []
        self._connections: set[ClientConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._left = asyncio.Event()

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Listen on bound sockets, of an address or a path; returns when connections are taken."""
        loop = asyncio.get_running_loop()
        for bound in sockets:
            listen = loop.create_unix_server if bound.family == socket.AF_UNIX else loop.create_server
            self._listeners.append(await listen(lambda: ClientConnection(self, loop), sock=bound, backlog=_BACKLOG))
        self._timer = loop.call_later(_PATIENCE_SECONDS / _INSPECTIONS, self._inspect)

    def close(self) -> None:
        """Take no more connections, and end each as soon as it has been answered. May be called twice."""
        for listener in self._listeners:
            listener.close()
        for connection in list(self._connections):
            connection.shut_down()

    def abort(self) -> None:
        """Cut the connections that are still open."""
        for connection in list(self._connections):
            connection.cut()

    async def closed(self) -> None:
        """Wait, after ``close``, until no connection is open and nothing that answers runs."""
        while self._connections:
            self._left.clear()
            await self._left.wait()
        while self._tasks:
            await asyncio.wait(list(self._tasks))
        if self._timer is not None:
            self._timer.cancel()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Implements ``Home``."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def enter(self, connection: ClientConnection) -> None:
        """Implements ``Home``."""
        self._connections.add(connection)

    def leave(self, connection: ClientConnection) -> None:
        """Implements ``Home``."""
        self._connections.discard(connection)
        self._left.set()

    def _inspect(self) -> None:
        for connection in list(self._connections):
            connection.inspect(_INSPECTIONS)
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE_SECONDS / _INSPECTIONS, self._inspect)
