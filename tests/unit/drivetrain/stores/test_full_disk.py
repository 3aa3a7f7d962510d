"""A full disk: what was told is kept, what was not leaves nothing, and work goes on when there is room."""

import contextlib
import itertools
from datetime import datetime, timezone

import pytest

from drivetrain.platform.files import NewFile, Origin
from drivetrain.stores.failure import DiskFull
from drivetrain.stores.files import open_files

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


async def content(size):
    for _ in range(0, size, 10_000):
        yield b"x" * 10_000


async def test_files_on_a_full_disk(small_disk):
    numbers = itertools.count()
    files = await open_files(small_disk / "files", lambda: f"{next(numbers):026}")
    new = NewFile(owner="alice", name="x", content_type=None, origin=Origin.UPLOAD, expires_at=None)

    async def put(size):
        return await files.put(new, content(size), now=NOW, limit=10**9, quota=None)

    kept = [await put(500_000) for _ in range(3)]
    with pytest.raises(DiskFull, match="full"):
        await put(5_000_000)
    with contextlib.suppress(DiskFull):
        while True:  # until not even a record fits
            kept.append(await put(10_000))
    assert {file.id for file in await files.find(owner="alice", limit=10**6)} == {file.id for file in kept}
    (small_disk / "files" / kept[0].id[:2] / kept[0].id).unlink()
    assert await files.remove(kept[0].id)
    await files.sweep(now=NOW)
    on_disk = {path.name for path in (small_disk / "files").rglob("0*") if path.is_file()}
    assert on_disk == {file.id for file in kept[1:]}
    await put(200_000)
    await files.aclose()
