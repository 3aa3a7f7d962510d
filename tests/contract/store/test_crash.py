"""A program that writes is killed; what it was told has happened has happened, once, and nothing is half done."""

import collections
from datetime import datetime, timedelta, timezone

import pytest

from drivetrain.model.prediction import Status
from drivetrain.platform.queue import PredictionQuery

pytestmark = pytest.mark.anyio

REVISION = "a" * 64
LINES_BEFORE_DEATH = (1, 300, 2_000)


async def test_what_was_told_survives_a_kill(adapter, start_writer, tmp_path):
    place = adapter.place(tmp_path)
    told = collections.defaultdict(set)
    for lines in LINES_BEFORE_DEATH:
        await read_until_killed(await start_writer(place), lines, told)
        store = await adapter.open(place)
        try:
            await check(store, told)
        finally:
            await store.close()


async def read_until_killed(process, lines, told):
    """Read some lines, kill the program, and read what it had said until then."""
    for _ in range(lines):
        note(await process.stdout.readline(), told)
    process.kill()
    rest = await process.stdout.read()
    for line in rest.splitlines():
        note(line, told)
    await process.wait()


def note(line, told):
    what, prediction_id = line.decode().split()
    told[what].add(prediction_id)


async def check(store, told):
    records = {record.submission.id: record for record in await store.queue.find(PredictionQuery(limit=10**6))}
    assert told["accepted"] <= records.keys()
    assert not told["succeeded"] & told["canceled"]
    for prediction_id in told["succeeded"]:
        assert records[prediction_id].status is Status.SUCCEEDED
    for prediction_id in told["canceled"]:
        assert records[prediction_id].status is Status.CANCELED
    statuses = collections.Counter(record.status for record in records.values())
    await check_ends(store, records)
    loads = await store.queue.load(now=datetime.now(timezone.utc) + timedelta(hours=1))
    load = loads[REVISION] if loads else None
    assert (load.waiting if load else 0) == statuses[Status.STARTING]
    assert (load.running if load else 0) == statuses[Status.PROCESSING]
    await check_work_goes_on(store, statuses)


async def check_ends(store, records):
    """What has ended has events and one delivery; what has not has none."""
    ended = {prediction_id for prediction_id, record in records.items() if record.status.is_terminal}
    deliveries = [delivery.prediction for delivery in await store.deliveries.find(limit=10**6)]
    assert sorted(deliveries) == sorted(ended)
    for prediction_id in list(records)[:500]:
        record = await store.queue.get(prediction_id)
        assert bool(record.events) == (prediction_id in ended)
        assert not record.events or record.events[-1].status is record.status


async def check_work_goes_on(store, statuses):
    """Everything that had been claimed is taken back, as at a start of the platform, and is there to be claimed."""
    now = datetime.now(timezone.utc)
    taken = await store.queue.reap(now=now, max_attempts={}, default_max_attempts=10**6, lapsed_only=False)
    assert len(taken) == statuses[Status.PROCESSING]
    load = (await store.queue.load(now=now)).get(REVISION)
    back = sum(record.status is Status.STARTING for record in taken)  # the others were to be canceled, and are
    assert (load.waiting if load else 0) == statuses[Status.STARTING] + back
