"""What has been kept for long enough is dropped, whatever part of it resists."""

import asyncio
from types import SimpleNamespace

from platform_bench import TurnedClock

from drivetrain.model.errors import OutsideFailed
from drivetrain.platform.housekeeping import Housekeeping
from drivetrain.platform.options import PlatformOptions


class Heap:
    """So many things to drop, or one that cannot be."""

    def __init__(self, count=0, trouble=None):
        self.count = count
        self.trouble = trouble
        self.tries = 0
        self.is_gone = asyncio.Event()

    async def drop(self, *, limit, **_):
        self.tries += 1
        if self.trouble:
            raise self.trouble
        step = min(limit, self.count)
        self.count -= step
        if not self.count:
            self.is_gone.set()
        return step

    async def forget(self, **limits):
        return ["id"] * await self.drop(**limits)


def test_what_cannot_be_dropped_keeps_nothing_else(caplog):
    async def main():
        data, records, deliveries = Heap(3500), Heap(1500), Heap(2500)
        files = Heap(trouble=OutsideFailed("file 'x' cannot be used"))
        store = SimpleNamespace(
            queue=SimpleNamespace(remove_data=data.drop, forget=records.forget), deliveries=SimpleNamespace(forget=deliveries.drop)
        )
        house = Housekeeping(store, SimpleNamespace(sweep=files.drop), TurnedClock(), PlatformOptions())
        keeping = asyncio.create_task(house.round())
        await asyncio.wait_for(asyncio.gather(*(heap.is_gone.wait() for heap in (data, records, deliveries))), 20)
        keeping.cancel()
        await asyncio.wait({keeping})
        assert files.tries == 1  # until the next round

    asyncio.run(main())
    assert "file 'x' cannot be used" in caplog.text
