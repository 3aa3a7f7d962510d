"""A parent for tasks: none outlives it, and none fails unheard."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio

_log = logging.getLogger(__name__)

#: A loop that has failed goes on after this long: our own bug must not stop a platform, nor spin.
_PAUSE_SECONDS = 1.0

#: A task may miss a cancelation, where a library swallows it.
_CANCEL_AGAIN_SECONDS = 1.0


class Tasks:
    """Owns tasks until they are done, or until it is closed."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Have work done in the background. What it raises is logged."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def spawn_loop(self, step: Callable[[], Awaitable[None]], name: str) -> asyncio.Task[None]:
        """Do a step again and again. A step that raises is logged, and done again after a pause."""

        async def repeat() -> None:
            while True:
                try:
                    await step()
                except Exception:  # noqa: BLE001 (our own bug in one loop must not stop the platform)
                    _log.exception("%s has failed and is tried again", name)
                    await asyncio.sleep(_PAUSE_SECONDS)

        return self.spawn(repeat(), name)

    async def settle(self, seconds: float) -> bool:
        """Wait until all of them are done; whether they were in time."""
        if not self._tasks:
            return True
        _, late = await asyncio.wait(set(self._tasks), timeout=seconds)
        return not late

    async def aclose(self) -> None:
        """Cancel what is left, and wait for it. May be called twice."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(set(self._tasks), timeout=_CANCEL_AGAIN_SECONDS)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s has failed", task.get_name(), exc_info=error)


class Signal:
    """Wakes one loop: ``wake`` may come before the wait, any number of times."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def wake(self) -> None:
        """Let the wait end."""
        self._event.set()

    async def wait(self, seconds: float | None) -> None:
        """Wait to be woken, at most so long."""
        with anyio.move_on_after(seconds):  # ``wait_for`` would lose a cancelation that comes together with the wake
            await self._event.wait()
        self._event.clear()
