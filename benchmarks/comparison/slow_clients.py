"""Clients that others should not notice: some send a body in crumbs, some do not read, one sends large bodies all the time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading

from load import Request
from systems import INPUTS

_CRUMB_SENDERS = 50
_IDLE_READERS = 10


def disturb(port: int, stop: threading.Event) -> None:
    """Disturb a server until told to stop."""
    import uvloop

    loop = uvloop.new_event_loop()  # it shares the cores with those whom it disturbs, and should take little of them
    try:
        loop.run_until_complete(_disturb(port, stop))
    finally:
        loop.close()


async def _disturb(port: int, stop: threading.Event) -> None:
    tasks = [asyncio.create_task(_send_crumbs(port)) for _ in range(_CRUMB_SENDERS)]
    tasks += [asyncio.create_task(_never_read(port)) for _ in range(_IDLE_READERS)]
    tasks.append(asyncio.create_task(_send_large_bodies(port)))
    await asyncio.to_thread(stop.wait)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _send_crumbs(port: int) -> None:
    request = _request("x" * 10_000)
    crumbs = [request[start : start + 100] for start in range(0, len(request), 100)]
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.closing(writer):
                for crumb in crumbs:
                    writer.write(crumb)
                    await asyncio.sleep(0.05)


async def _never_read(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
    request = _request("x" * 1000)
    with contextlib.closing(writer):
        while True:
            writer.write(request)
            await asyncio.sleep(0.1)


async def _send_large_bodies(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = _request("x" * 1_000_000)
    with contextlib.closing(writer):
        while True:
            writer.write(request)
            await reader.readuntil(b"\r\n\r\n")
            await reader.readuntil(b'"}')
            await asyncio.sleep(0.2)  # large, not many: a machine of two cores has little to spare


def _request(text: str) -> bytes:
    return Request(path="/predictions", body=json.dumps({"input": {**INPUTS["trivial"], "text": text}}).encode()).encode("here")
