"""Listens: an ASGI application on a socket, ended without cutting off those who wait for an answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn

from drivetrain.serving.http.connection import Connection

#: How long clients may take to be answered once nothing is under way any more.
_LAST_ANSWERS_SECONDS = 5.0


class HttpServer:
    """One application on one socket.

    Args:
        application: The ASGI application.
        listener: Bound; closed by ``stop``.
    """

    def __init__(self, application: Any, listener: socket.socket) -> None:
        self._listener = listener
        config = uvicorn.Config(
            application,
            http=Connection,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            proxy_headers=False,
            server_header=False,
            backlog=4096,
        )
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # the application tells what it meets, in its own words
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; returns when connections are taken."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        started = asyncio.create_task(self._server.is_listening.wait())
        await asyncio.wait((self._task, started), return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            started.cancel()
            self._task.result()

    async def stop(self, drain: Callable[[], Awaitable[None]] | None = None) -> None:
        """Take no more connections, answer those who wait, close. May be called twice, and without a start.

        Args:
            drain: Awaited before the connections that are still open are cut.
        """
        if self._task is None:
            self._listener.close()
            if drain is not None:
                await drain()
            return
        self._server.drain = drain
        self._server.should_exit = True
        await self._task


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_listening = asyncio.Event()
        self.drain: Callable[[], Awaitable[None]] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        closing = asyncio.ensure_future(super().shutdown(sockets))
        try:
            if self.drain is not None:
                await self.drain()
            await asyncio.wait({closing}, timeout=_LAST_ANSWERS_SECONDS)
        finally:
            for connection in list(self.server_state.connections):  # such as a client that never reads, or a stream of what waits
                connection.transport.abort()
            await closing

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # whoever starts us decides what a signal means
