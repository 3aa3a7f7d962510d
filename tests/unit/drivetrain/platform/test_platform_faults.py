"""A platform that was down, or whose runners end at the wrong moment."""

import asyncio
import contextlib
import sqlite3
from datetime import timedelta

from platform_bench import ROOT

from drivetrain.model.prediction import Started, Status
from drivetrain.platform.app import AppName
from drivetrain.platform.fleet import Capacity
from drivetrain.platform.submission import PredictionRequest

ECHO = AppName("acme", "echo")
LONG = timedelta(seconds=20)
ONE_GPU = Capacity(gpus=("0",), memory=16 * 1024**3, cpus=4)


def request(**settings):
    return PredictionRequest(app=ECHO, input={"text": "hello"}, **settings)


async def until(condition, what="it"):
    """Wait until something of the platform's loops has happened."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{what} did not happen")


async def stuck(runner, job):
    """A model that never ends."""
    yield Started(at=runner.now())
    await asyncio.Event().wait()


@contextlib.contextmanager
def held_up(database):
    """Let nothing be written meanwhile."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def test_everything_that_is_overdue_is_canceled_however_much_it_is(bench):
    """The store ends a thousand at once."""

    async def test(it):
        await it.deploy(scaling={"max_runners": 1})
        it.fleet.behaviour = stuck
        await it.platform.predict(ROOT, request())
        await until(lambda: it.parts.dispatcher.under_way == 1)
        hour = timedelta(hours=1)
        overdue = await asyncio.gather(*(it.platform.predict(ROOT, request(start_within=hour)) for _ in range(1001)))
        it.clock.ahead = 2 * hour
        overdue.append(await it.platform.predict(ROOT, request(start_within=timedelta(0))))  # has the dispatcher look
        ended = await asyncio.gather(*(it.platform.wait(ROOT, view.id, LONG) for view in overdue))
        assert {view.status for view in ended} == {Status.CANCELED}

    bench(test)


def test_a_runner_that_ends_before_it_is_given_a_prediction_costs_nothing(bench, tmp_path):
    async def test(it):
        await it.deploy(scaling={"max_attempts": 1})
        (runner,) = it.parts.runners
        with held_up(tmp_path / "platform.db"):
            predicting = asyncio.create_task(it.platform.predict(ROOT, request(), wait=LONG))
            await until(lambda: runner.reserved)
            it.fleet.runners[0].end(was_asked=False, description="was killed by signal 9")
            await until(lambda: it.parts.runners.find(runner.id) is None)
        view = await predicting
        assert (view.status, view.output, view.attempt, view.history) == (Status.SUCCEEDED, "hello", 1, ())

    bench(test)
