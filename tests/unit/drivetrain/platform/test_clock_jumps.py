"""The machine's clock is set hours ahead and back while predictions wait, run and are canceled."""

import asyncio
import contextlib
import random
from collections import Counter
from datetime import timedelta

from platform_bench import ROOT

from drivetrain.model.prediction import Completed, Output, OutputValue, Started, Status
from drivetrain.platform.app import AppName
from drivetrain.platform.platform import AppChange
from drivetrain.platform.queue import PredictionQuery
from drivetrain.platform.submission import PredictionRequest

ECHO = AppName("acme", "echo")
LONG = timedelta(seconds=20)
COUNT = 120


def slow(begun):
    """A model that takes a while, and longer for some; counts what it begins."""

    async def behaviour(runner, job):
        begun[job.id] += 1
        yield Started(at=runner.now())
        await asyncio.sleep(0.002 * (int(job.input["text"]) % 7))
        yield Output(output=OutputValue(value=job.input["text"]))
        yield Completed(status=Status.SUCCEEDED, at=runner.now())

    return behaviour


async def set_the_clock(it, rng):
    """Now an hour ahead, now an hour back."""
    while True:
        it.clock.ahead = timedelta(seconds=rng.uniform(-6, 6) * 3600)
        await asyncio.sleep(0.01)


async def ask(it, rng, number):
    await asyncio.sleep(rng.random() / 2)
    view = await it.platform.predict(ROOT, PredictionRequest(app=ECHO, input={"text": str(number)}))
    if number % 5 == 0:
        await it.platform.cancel(ROOT, view.id)
    ended = await it.platform.wait(ROOT, view.id, LONG)
    assert ended.status.is_terminal, f"{number} does not end"
    return ended


def test_nothing_is_lost_or_run_twice_when_the_clock_is_set(bench):
    begun = Counter()

    async def test(it):
        await it.deploy()
        rng = random.Random(1)
        await it.platform.change_app(ROOT, ECHO, AppChange(scaling={"max_runners": 3}))
        jumping = asyncio.ensure_future(set_the_clock(it, rng))
        try:
            ended = await asyncio.gather(*(ask(it, rng, number) for number in range(COUNT)))
        finally:
            jumping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await jumping
        assert {view.status for view in ended} <= {Status.SUCCEEDED, Status.CANCELED}
        assert all(view.output == view.submission.input["text"] for view in ended if view.status is Status.SUCCEEDED)
        assert all(view.attempt <= 1 for view in ended)
        assert max(begun.values()) == 1
        stored = await it.platform.predictions(ROOT, PredictionQuery(limit=1000))
        assert {view.id: view.status for view in stored} == {view.id: view.status for view in ended}

    bench(test, behaviour=slow(begun))
