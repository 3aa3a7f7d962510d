"""Drops what has been kept for long enough, a little at a time."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime

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
        drops = [self._drop_data, self._drop_records, self._drop_files, self._drop_deliveries]
        most = _STEP
        while most >= _STEP:
            most = 0
            for drop in list(drops):
                try:
                    most = max(most, await drop(self._clock.now()))
                except DrivetrainError as error:
                    drops.remove(drop)  # what one of them cannot drop must not keep the others
                    _log.warning("some of what has expired cannot be dropped now: %s", error.message)
            await asyncio.sleep(_PAUSE_SECONDS)
        await asyncio.sleep(_ROUND_SECONDS)

    async def _drop_data(self, now: datetime) -> int:
        return await self._store.queue.remove_data(completed_before=now - self._options.keep_data, limit=_STEP)

    async def _drop_records(self, now: datetime) -> int:
        return len(await self._store.queue.forget(completed_before=now - self._options.keep_records, limit=_STEP))

    async def _drop_files(self, now: datetime) -> int:
        return await self._files.sweep(now=now, limit=_STEP)

    async def _drop_deliveries(self, now: datetime) -> int:
        return await self._store.deliveries.forget(created_before=now - self._options.keep_deliveries, limit=_STEP)
