"""A platform that was down, whose runners end at the wrong moment, or that has no room."""

import asyncio
import contextlib
import sqlite3
from datetime import timedelta

import pytest
from platform_bench import ROOT, until

from drivetrain.model.errors import ProjectError
from drivetrain.model.prediction import Started, Status
from drivetrain.platform.app import AppName, Resources
from drivetrain.platform.deploy_event import Strategy
from drivetrain.platform.fleet import Capacity
from drivetrain.platform.platform import AppChange
from drivetrain.platform.runners import RunnerState
from drivetrain.platform.scaling import NoRoom
from drivetrain.platform.submission import PredictionRequest

ECHO = AppName("acme", "echo")
LONG = timedelta(seconds=20)
ONE_GPU = Capacity(gpus=("0",), memory=16 * 1024**3, cpus=4)


def request(**settings):
    return PredictionRequest(app=ECHO, input={"text": "hello"}, **settings)


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


def test_idle_runners_of_other_apps_make_room_for_a_deployment(bench):
    """Even if they are wanted back at once, as a buffer."""

    async def test(it):
        await it.deploy(resources=Resources(gpus=1), scaling={"buffer": 1})
        idle = it.fleet.runners[0]
        await it.deploy("acme/other", resources=Resources(gpus=1))
        assert idle.ended.done()
        assert [str(runner.order.app) for runner in it.fleet.runners] == ["acme/other"]

    bench(test, capacity=ONE_GPU)


def test_a_deployment_waits_for_a_runner_that_is_leaving(bench):
    may_end = asyncio.Event()

    async def test(it):
        await it.deploy(resources=Resources(gpus=1))
        leaving = it.fleet.runners[0]

        async def stop(grace):
            await may_end.wait()
            leaving.end(was_asked=True, description="was stopped")

        leaving.stop = stop
        deploying = asyncio.create_task(it.deploy("acme/other", resources=Resources(gpus=1)))
        try:
            await until(lambda: any(runner.state is RunnerState.DRAINING for runner in it.parts.runners))
            it.parts.scaling.wake()
            await until(lambda: AppName("acme", "other") in it.platform.unplaced(ROOT))
            assert not deploying.done()
        finally:
            may_end.set()
        assert (await deploying).app == AppName("acme", "other")

    bench(test, capacity=ONE_GPU)


def test_a_deployment_leaves_minimums_and_what_is_busy_alone(bench):
    async def test(it):
        await it.deploy(resources=Resources(gpus=1), scaling={"min_runners": 1})
        with pytest.raises(NoRoom, match="'min_runners' of acme/echo keeps idle ones from making room") as caught:
            await it.deploy("acme/other", resources=Resources(gpus=1))
        assert caught.value.hint is None
        await it.platform.change_app(ROOT, ECHO, AppChange(scaling={"min_runners": 0}))
        it.fleet.behaviour = stuck
        await it.platform.predict(ROOT, request())
        await until(lambda: it.parts.dispatcher.under_way == 1)
        with pytest.raises(NoRoom, match=r"the rest is held by acme/echo$"):
            await it.deploy("acme/other", resources=Resources(gpus=1))
        assert it.fleet.started == 1

    bench(test, capacity=ONE_GPU)


def test_an_app_goes_on_answering_while_there_is_no_room_for_its_new_revision(bench):
    async def test(it):
        await it.deploy(resources=Resources(gpus=1))
        change = {"predict.py": "# 2\n"}
        with pytest.raises(NoRoom, match=r"the rest is held by acme/echo$") as caught:
            await it.deploy(files=change)
        assert "recreate" in caught.value.hint
        assert not it.fleet.runners[0].ended.done()
        await it.deploy(files=change, strategy=Strategy.RECREATE)
        assert it.fleet.started == 2

    bench(test, capacity=ONE_GPU)


def test_an_upload_that_came_to_nothing_is_gone_after_a_restart(bench, tmp_path):
    async def first(it):
        await it.deploy()
        with pytest.raises(ProjectError):
            await it.deploy(files={"cog.yaml": "predict: [\n"})
        assert len(list((tmp_path / "sources").iterdir())) == 2

    async def second(it):
        (kept,) = (tmp_path / "sources").iterdir()
        assert kept.name == it.platform.revisions(ROOT, ECHO)[0].source

    bench(first)
    bench(second)
