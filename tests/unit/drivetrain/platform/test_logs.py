"""Runners' logs: whole lines, live and kept, within bounds."""

import asyncio

from platform_bench import TurnedClock

from drivetrain.platform.app import AppName
from drivetrain.platform.fleet import RunnerId
from drivetrain.platform.logs import RunnerLogs

APP = AppName("acme", "echo")
ONE, TWO = RunnerId("one"), RunnerId("two")


def logs(tmp_path, limit=100_000):
    return RunnerLogs(tmp_path, limit, TurnedClock())


async def latest(log, lines=100):
    return [line.split(" ", 1)[1] async for line in log.read(APP, follows=False, lines=lines)]


def test_lines_of_several_runners_are_not_mixed(tmp_path):
    async def test():
        log = logs(tmp_path)
        log.add(APP, ONE, "half ")
        log.add(APP, TWO, "whole\n")
        log.add(APP, ONE, "a line\nrest")
        log.end(APP, ONE)
        assert await latest(log) == ["two whole\n", "one half a line\n", "one rest\n"]

    asyncio.run(test())


def test_they_outlive_the_platform(tmp_path):
    async def write():
        log = logs(tmp_path)
        log.add(APP, ONE, "a\nb\nc\n")
        await log.flush()

    async def read():
        assert await latest(logs(tmp_path), lines=2) == ["one b\n", "one c\n"]

    asyncio.run(write())
    asyncio.run(read())


def test_a_reader_follows(tmp_path):
    async def test():
        log = logs(tmp_path)
        log.add(APP, ONE, "before\n")
        reading = log.read(APP, follows=True, lines=10)
        assert (await anext(reading)).endswith("before\n")
        coming = asyncio.ensure_future(anext(reading))
        await asyncio.sleep(0)
        log.add(APP, ONE, "after\n")
        assert (await coming).endswith("after\n")
        await reading.aclose()

    asyncio.run(test())


def test_a_talkative_runner_fills_neither_disk_nor_memory(tmp_path):
    async def test():
        log = logs(tmp_path, limit=10_000)
        for number in range(50):
            log.add(APP, ONE, f"{number} " + "x" * 1000 + "\n")
            await log.flush()
        assert sum(path.stat().st_size for path in tmp_path.rglob("*.log*")) < 25_000
        assert "49 " in (await latest(log))[-1]
        log.add(APP, ONE, "y" * 1_000_000)
        await log.flush()
        assert len((await latest(log))[-1]) < 70_000

    asyncio.run(test())


def test_an_apps_log_can_be_deleted(tmp_path):
    async def test():
        log = logs(tmp_path)
        log.add(APP, ONE, "a\n")
        await log.flush()
        await log.remove(APP)
        await log.remove(APP)
        assert await latest(log) == []

    asyncio.run(test())
