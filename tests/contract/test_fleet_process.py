"""What is peculiar to runners that are processes of this machine, beside what `test_fleet.py` holds every fleet to."""

import asyncio
import contextlib
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from fleet_bench import ECHO, STOPPABLE, Bench, began, has_ended, is_there, process_fleet, run, value

from drivetrain.fleets.process import ProcessFleet
from drivetrain.model.errors import OutsideFailed
from drivetrain.platform.fleet import RunnerLost, SetupFailed
from drivetrain.settings import read_settings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Where environments are kept."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def fleet(tmp_path, cache):
    """Runs a coroutine function with a process fleet: ``fleet(test)``."""

    def run(test):
        async def main():
            async with process_fleet(tmp_path, cache) as it:
                return await asyncio.wait_for(test(Bench(it, tmp_path)), 60)

        return asyncio.run(main())

    return run


def children(pid):
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def template():
    """The process that runners are forked from: the one child that this process has."""
    (pid,) = (child for child in children(os.getpid()) if is_there(child))
    return pid


def descriptors(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


class TestTemplate:
    def test_runners_outlive_it_and_the_next_one_has_another(self, fleet):
        async def test(bench):
            runner = await bench.runner(STOPPABLE)
            task = await began(runner, bench, "wait")
            pids = list(map(int, (await bench.logged(r"family (\d+) (\d+) (\d+) (\d+)")).groups()))
            os.kill(template(), signal.SIGKILL)
            other = await bench.runner(ECHO)
            assert value(await run(other, text="ab")) == "ba"
            await runner.cancel("p")
            assert (await task)[-1].status.value == "canceled"
            await runner.kill()
            assert not any(map(is_there, pids))

        fleet(test)

    def test_a_runner_that_ends_without_it_has_ended_all_the_same(self, fleet):
        async def test(bench):
            runner = await bench.runner(STOPPABLE)
            task = await began(runner, bench, "wait")
            _, server, *rest = map(int, (await bench.logged(r"family (\d+) (\d+) (\d+) (\d+)")).groups())
            for pid in (template(), server):
                os.kill(pid, signal.SIGKILL)
            with pytest.raises(RunnerLost):
                await task
            ending = await runner.ended
            assert not ending.was_asked
            assert not any(map(is_there, (server, *rest)))

        fleet(test)

    def test_runners_come_and_go_without_a_trace(self, fleet):
        async def test(bench):
            root = bench.project(ECHO)
            await (await bench.runner(root)).kill()
            before = descriptors(os.getpid()), descriptors(template())
            for _ in range(5):
                runner = await bench.runner(root)
                await run(runner)
                await runner.stop(timedelta(seconds=10))
            with pytest.raises(SetupFailed):
                await (await bench.start("import nowhere")).ready()
            assert not children(template())
            assert (descriptors(os.getpid()), descriptors(template())) == before

        fleet(test)

    def test_it_ends_with_the_fleet(self, fleet):
        pids = []

        async def test(bench):
            pids.append(template())

        fleet(test)
        assert not is_there(pids[0])

    def test_a_start_that_is_canceled_leaves_nothing(self, fleet):
        async def test(bench):
            root = bench.project(ECHO)
            before = descriptors(os.getpid())
            for turns in range(0, 40, 4):
                starting = asyncio.ensure_future(bench.start(root))
                for _ in range(turns):
                    await asyncio.sleep(0)
                starting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await (await starting).kill()
            runner = await bench.runner(root)
            await runner.kill()
            await bench.fleet.aclose()
            assert descriptors(os.getpid()) <= before

        fleet(test)


def test_a_directory_for_temporary_files_that_is_too_deep_for_sockets_is_named(tmp_path, monkeypatch):
    deep = tmp_path / ("deep" * 30)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))

    async def main():
        fleet = ProcessFleet(read_settings(os.environ), tmp_path / "runners")
        try:
            with pytest.raises(OutsideFailed, match="too long for sockets") as caught:
                await fleet.open()
            assert "TMPDIR" in caught.value.hint
        finally:
            await fleet.aclose()

    asyncio.run(main())
    assert not list(deep.iterdir())


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    async def main():
        fleet = ProcessFleet(read_settings(os.environ), tmp_path / "file" / "runners")
        try:
            with pytest.raises(OutsideFailed, match="file/runners"):
                await fleet.open()
        finally:
            await fleet.aclose()

    asyncio.run(main())


def test_a_project_that_is_gone_is_an_error_and_leaves_nothing(fleet):
    async def test(bench):
        with pytest.raises(OutsideFailed, match="runner of 'alice/model'"):
            await bench.start(bench.directory / "nowhere")

    fleet(test)


def test_processes_that_detach_themselves_end_with_their_runner(fleet):
    source = """
        import os, subprocess, sys
        class Predictor:
            def setup(self):
                code = "import os, time; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0); " \\
                       "print('daemon', os.getpid(), flush=True); time.sleep(1000)"
                subprocess.run([sys.executable, "-c", code])
            def predict(self) -> str:
                return ""
    """

    async def test(bench):
        runner = await bench.runner(source)
        daemon = int((await bench.logged(r"daemon (\d+)"))[1])
        assert is_there(daemon)
        await runner.kill()
        assert has_ended(daemon)

    fleet(test)
