"""A platform over a real store and real files, with a fleet whose runners do what the test says."""

import asyncio
import contextlib
import random
import secrets
from datetime import timedelta

import pytest
from platform_bench import Bench, FakeFleet, TurnedClock

from drivetrain.platform.files import FileId
from drivetrain.platform.ids import Ids
from drivetrain.platform.options import PlatformOptions
from drivetrain.platform.parts import Adapters, Parts
from drivetrain.platform.platform import Platform
from drivetrain.serving.outgoing import Outgoing, Reach
from drivetrain.stores.files import open_files
from drivetrain.stores.sqlite import open_store
from drivetrain.stores.vault import open_vault


@pytest.fixture
def bench(tmp_path):
    """Runs a coroutine function with a started platform: ``bench(test, setting=...)``."""

    @contextlib.asynccontextmanager
    async def running(fleet_settings, options):
        clock = TurnedClock()
        fleet = FakeFleet(clock, **fleet_settings)
        ids = Ids(secrets.token_bytes)
        store = await open_store(tmp_path / "platform.db")
        adapters = Adapters(
            store=store,
            fleet=fleet,
            files=await open_files(tmp_path / "files", lambda: FileId(ids.text(26))),
            vault=await open_vault(tmp_path / "secret.key", store.secrets),
            clock=clock,
            ids=ids,
            random=random.Random(1),
            random_bytes=secrets.token_bytes,
            outgoing=Outgoing(Reach(allow_private=True)),
            renders={},
            directory=tmp_path,
            internal_url="http://127.0.0.1:1",
        )
        parts = Parts(adapters, PlatformOptions(**options))
        platform = Platform(parts)
        await platform.start()
        try:
            yield Bench(platform, fleet, clock, parts)
        finally:
            await platform.stop()

    def run(test, *, options=None, **fleet_settings):
        async def main():
            async with running(fleet_settings, {"stop_grace": timedelta(seconds=1), **(options or {})}) as it:
                return await asyncio.wait_for(test(it), 30)

        return asyncio.run(main())

    return run
