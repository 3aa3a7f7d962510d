"""Live predictions: everybody who watches sees all of it, at their own pace."""

import asyncio
from datetime import datetime, timezone

from drivetrain.model.prediction import Completed, Log, PredictionId, Source, Started, Status
from drivetrain.platform.app import AppName, RevisionId
from drivetrain.platform.hub import Hub
from drivetrain.platform.queue import Submission

NOW = datetime.now(timezone.utc)
SUBMISSION = Submission(id=PredictionId("p"), app=AppName("a", "b"), revision=RevisionId("r"), created_at=NOW, input={"text": "x"})


def log(text):
    return Log(source=Source.STDOUT, data=text)


async def follow(hub, live, **settings):
    return [each async for batch in hub.follow(live, **{"after": None, "keep_alive": 5, **settings}) for each in batch]


def test_it_is_kept_as_long_as_somebody_uses_it():
    hub = Hub()
    with hub.using(SUBMISSION, streams=False) as one, hub.using(SUBMISSION, streams=False) as other:
        assert one is other
        assert hub.find(SUBMISSION.id) is one
    assert hub.find(SUBMISSION.id) is None
    assert len(hub) == 0


def test_a_late_reader_sees_everything_and_a_resuming_one_the_rest():
    async def test():
        hub = Hub()
        with hub.using(SUBMISSION, streams=False) as live:
            live.begin(1)
            for event in (Started(at=NOW), log("a"), log("b"), Completed(status=Status.SUCCEEDED, at=NOW)):
                live.apply(event)
            assert [each.number for each in await follow(hub, live)] == [0, 1, 2, 3]
            assert [each.number for each in await follow(hub, live, after=(1, 1))] == [2, 3]

    asyncio.run(test())


def test_an_attempt_that_is_given_up_takes_its_events_with_it():
    async def test():
        hub = Hub()
        with hub.using(SUBMISSION, streams=False) as live:
            live.begin(1)
            live.apply(Started(at=NOW))
            reading = asyncio.ensure_future(follow(hub, live))
            await asyncio.sleep(0)
            live.begin(2)
            live.apply(Started(at=NOW))
            live.apply(Completed(status=Status.CANCELED, at=NOW))
            seen = await reading
            assert [(each.attempt, each.number) for each in seen][-2:] == [(2, 0), (2, 1)]
            assert [each.attempt for each in await follow(hub, live, after=(1, 0))] == [2, 2]

    asyncio.run(test())


def test_a_reader_hears_signs_of_life():
    async def test():
        hub = Hub()
        with hub.using(SUBMISSION, streams=False) as live:
            reading = hub.follow(live, after=None, keep_alive=0.01)
            assert await anext(reading) == []
            await reading.aclose()

    asyncio.run(test())
