"""One suite for whatever keeps the platform's state. To add an adapter, add it to ``ADAPTERS``."""

import asyncio
import itertools
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from drivetrain.model.prediction import Completed, Failure, Log, Output, OutputValue, Source, Started, Status
from drivetrain.platform.app import AppName
from drivetrain.platform.queue import Claimant, Outcome, Submission
from drivetrain.platform.store import Store
from drivetrain.stores.sqlite import open_store

APP = AppName("alice", "hotdog")
REVISION = "a" * 64


@dataclass(frozen=True)
class Adapter:
    """A way to keep state: how to open it, here and in a program of its own."""

    name: str
    place: Callable[[Path], Path]
    open: Callable[[Path], Awaitable[Store]]
    module: str


ADAPTERS = [Adapter("sqlite", lambda directory: directory / "platform.db", open_store, "drivetrain.stores.sqlite")]


@dataclass
class Scene:
    """A store with a clock that tests turn, and short ways to use both."""

    store: Store
    place: Path
    now: datetime = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)
    _numbers: itertools.count = field(default_factory=lambda: itertools.count(1))

    @property
    def queue(self):
        return self.store.queue

    def after(self, seconds):
        return self.now + timedelta(seconds=seconds)

    def submission(self, **changes):
        number = next(self._numbers)
        defaults = {"id": f"p{number:025}", "app": APP, "revision": REVISION, "created_at": self.now, "input": {"number": number}}
        return Submission(**{**defaults, **changes})

    async def submit(self, *, queue_limit=1000, **changes):
        """Accept a prediction; its id."""
        submitted = await self.queue.submit(self.submission(**changes), queue_limit=queue_limit)
        return submitted.record.submission.id

    def claimant(self, runner="runner-1", lease=30):
        return Claimant(runner=runner, lease_until=self.after(lease))

    async def claim(self, limit=1, *, revision=REVISION, mode=None, **claimant):
        return await self.queue.claim(revision, self.claimant(**claimant), limit=limit, now=self.now, mode=mode)

    async def claim_one(self, **options):
        (claim,) = await self.claim(1, **options)
        return claim

    async def claimed_ids(self, limit=1000, **options):
        return [claim.record.submission.id for claim in await self.claim(limit, **options)]

    def outcome(self, status=Status.SUCCEEDED):
        failure = Failure(message="It broke.", traceback="line 1") if status is Status.FAILED else None
        events = (
            Log(source=Source.STDOUT, data="early\n"),
            Started(at=self.now),
            Output(output=OutputValue(value={"text": "olleh"})),
            Completed(status=status, at=self.after(1), failure=failure),
        )
        return Outcome(status=status, completed_at=self.after(1), started_at=self.now, events=events)

    async def complete(self, claim, status=Status.SUCCEEDED):
        return await self.queue.complete(claim.token, self.outcome(status))

    async def release(self, claim, *, after=0, note="It was refused."):
        return await self.queue.release(claim.token, not_before=self.after(after), note=note)

    async def reap(self, *, attempts=3, **options):
        return await self.queue.reap(now=self.now, max_attempts={}, default_max_attempts=attempts, **options)

    async def status(self, prediction_id):
        record = await self.queue.get(prediction_id)
        return record and record.status

    async def load(self, revision=REVISION):
        """What waits and what runs."""
        load = (await self.queue.load(now=self.now)).get(revision)
        return (load.waiting, load.running) if load else (0, 0)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(params=ADAPTERS, ids=lambda adapter: adapter.name)
def adapter(request):
    return request.param


@pytest.fixture
async def scene(adapter, tmp_path):
    place = adapter.place(tmp_path)
    store = await adapter.open(place)
    yield Scene(store, place)
    await store.close()


@pytest.fixture
def start_writer(adapter):
    """Start a program that writes to a store until it is killed; see ``writing_program``."""

    def start(place):
        program = Path(__file__).with_name("writing_program.py")
        return asyncio.create_subprocess_exec(sys.executable, program, adapter.module, place, stdout=asyncio.subprocess.PIPE)

    return start
