"""Bodies of requests that are not known to be small: a large one waits on disk, not in memory, until it has come whole."""

from __future__ import annotations

import asyncio
import contextlib
import mmap
from collections.abc import AsyncIterator, Iterable
from typing import BinaryIO

from drivetrain.model.errors import OutsideFailed

#: Clients may be slow, and many.
_MOST_IN_MEMORY = 1024 * 1024


async def spooled(chunks: AsyncIterator[bytes]) -> bytes | mmap.mmap:
    """A whole body.

    Args:
        chunks: The body as it comes; what it raises goes through.

    Raises:
        OutsideFailed: There is no room for it.
    """
    waiting: list[bytes] = []
    size = 0
    with contextlib.ExitStack() as stack:
        spool: BinaryIO | None = None
        async for chunk in chunks:
            waiting.append(chunk)
            size += len(chunk)
            if spool is None and size > _MOST_IN_MEMORY:
                import tempfile  # takes milliseconds, and few servers ever need it

                spool = stack.enter_context(tempfile.TemporaryFile())
            if spool is not None:
                await asyncio.to_thread(_write, spool, waiting)
                waiting = []
        if spool is not None:
            return mmap.mmap(spool.fileno(), size, access=mmap.ACCESS_READ)
    return waiting[0] if len(waiting) == 1 else b"".join(waiting)


def _write(spool: BinaryIO, chunks: Iterable[bytes]) -> None:
    try:
        spool.writelines(chunks)
        spool.flush()
    except OSError as error:
        raise OutsideFailed(f"the body cannot be stored while it comes: {error.strerror}") from error
