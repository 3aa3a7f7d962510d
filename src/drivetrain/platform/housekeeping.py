"""Drops what has been kept for long enough, a little at a time."""

from __future__ import annotations

import asyncio
import logging

from drivetrain.model.errors import DrivetrainError
from drivetrain.platform.clock import Clock
from drivetrain.platform.files import FileStore
from drivetrain.platform.options import PlatformOptions
from drivetrain.platform.store import Store

_log = logging.getLogger(__name__)

_ROUND_SECONDS = 60.0

#: So much is dropped at once, and the next step soon after if that was not all: a large heap must not hold up the queue.
_STEP = 1000
_PAUSE_SECONDS = 0.1


class Housekeeping:
    """Owns nothing; looks once a minute."""

    def __init__(self, store: Store, files: FileStore, clock: Clock, options: PlatformOptions) -> None:
        self._store = store
        self._files = files
        self._clock = clock
        self._options = options

    async def round(self) -> None:
        """Drop what is due, then wait."""
        try:
            while await self._step() >= _STEP:  # noqa: ASYNC110 (nothing to wait for: a rest for the others)
                await asyncio.sleep(_PAUSE_SECONDS)
        except DrivetrainError as error:
            _log.warning("what has expired cannot be dropped now: %s", error.message)
        await asyncio.sleep(_ROUND_SECONDS)

    async def _step(self) -> int:
        """Drop some of each; how much of what there was most of."""
        now, options = self._clock.now(), self._options
        counts = [
            await self._store.queue.remove_data(completed_before=now - options.keep_data, limit=_STEP),
            len(await self._store.queue.forget(completed_before=now - options.keep_records, limit=_STEP)),
            await self._files.sweep(now=now, limit=_STEP),
        ]
        await self._store.deliveries.forget(created_before=now - options.keep_deliveries)
        return max(counts)
