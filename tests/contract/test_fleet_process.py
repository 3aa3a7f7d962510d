"""What is peculiar to runners that are processes of this machine, beside what `test_fleet.py` holds every fleet to."""

import asyncio
import contextlib
import ctypes
import json
import os
import random
import signal
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from fleet_bench import ECHO, STOPPABLE, Bench, began, has_ended, is_there, process_fleet, run, value

from drivetrain.fleets.process import ProcessFleet
from drivetrain.model.errors import OutsideFailed
from drivetrain.model.prediction import Status
from drivetrain.platform.fleet import Grant, RunnerLost, RunnerRefused, SetupFailed
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
    with contextlib.suppress(OSError):  # it has ended
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    return []


def command_line(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def template():
    """The process that runners are forked from: of this process's children the one that says so."""
    (pid,) = (
        child for child in children(os.getpid()) if is_there(child) and "runners" in Path(f"/proc/{child}/cmdline").read_text()
    )
    return pid


@contextlib.contextmanager
def inherits_orphans():
    """Have this process be the next parent of those whose parent ends, as process 1 is, and bury nobody."""
    set_child_subreaper = 36
    prctl = ctypes.CDLL(None).prctl
    assert prctl(set_child_subreaper, 1) == 0
    try:
        yield
    finally:
        prctl(set_child_subreaper, 0)


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

    def test_a_runner_that_ends_without_it_has_ended_though_nobody_buries_it(self, fleet):
        pids = []

        async def test(bench):
            runner = await bench.runner(STOPPABLE)
            pids.extend(map(int, (await bench.logged(r"family (\d+) (\d+) (\d+) (\d+)")).groups()))
            os.kill(template(), signal.SIGKILL)
            await runner.kill()
            assert not any(map(is_there, pids))

        with inherits_orphans():
            fleet(test)
        for pid in pids:
            with contextlib.suppress(ChildProcessError):  # its own parent did it
                os.waitpid(pid, 0)

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


def test_under_fire_every_prediction_has_one_end_and_nothing_is_left(fleet):
    """Template, servers and workers are killed at random while runners come and go."""
    seconds, dice = 6.0, random.Random(7)

    async def test(bench):
        root = bench.project(ECHO)
        await bench.build(root)
        end = asyncio.get_running_loop().time() + seconds
        ended, lost = [], []

        async def kill_at_random():
            while asyncio.get_running_loop().time() < end:
                await asyncio.sleep(dice.random() * 0.4)
                server_processes = servers()
                targets = [
                    *([template()] if server_processes and dice.random() < 0.2 else []),
                    *server_processes,
                    *(worker for server in server_processes for worker in children(server)),
                ]
                if targets:
                    target = dice.choice(targets)
                    with contextlib.suppress(OSError):
                        os.kill(target, signal.SIGKILL)

        async def use(number):
            while asyncio.get_running_loop().time() < end:
                with contextlib.suppress(SetupFailed, RunnerRefused):
                    runner = await bench.start(root)
                    try:
                        await runner.ready()
                        for turn in range(10):
                            events = await run(runner, f"{number}-{turn}", text="ab")
                            ended.append(value(events))
                    except RunnerLost as error:
                        lost.append(error)
                    finally:
                        await (runner.kill() if dice.random() < 0.5 else runner.stop(timedelta(seconds=1)))
                        assert runner.ended.done()

        await asyncio.gather(kill_at_random(), *map(use, range(3)))
        assert set(ended) == {"ba"}
        assert lost
        assert not servers()

    fleet(test)


class TestForkedWorkers:
    """Runners whose workers come from a template, since an earlier runner has shown what the project imports."""

    SOURCE = STOPPABLE.replace("import os, subprocess, time", "import os, subprocess, time, colorsys, json").replace(
        'if action == "crash":',
        """if action == "see":
                return json.dumps({**os.environ, "cwd": os.getcwd(), "here": os.listdir()})
            if action == "hoard":
                return str(len(bytes(1000 * 1024 * 1024)))
            if action == "crash":""",
    )
    FAMILY = r"family (\d+) (\d+) (\d+) (\d+)\n$"

    @pytest.fixture(autouse=True)
    def at_once(self, monkeypatch):
        monkeypatch.setattr("drivetrain.fleets.doors._PATIENCE_SECONDS", 0)

    async def forked(self, bench, root, **changes):
        """A runner with a forked worker, and its processes: worker, server, child, daemon."""
        while True:
            bench.text = ""
            runner = await bench.runner(root, **changes)
            pids = tuple(map(int, (await bench.logged(self.FAMILY)).groups()))
            if pids[1] not in servers():
                return runner, (pids[0], *pids[2:])
            await run(runner, action="ok")  # by now it has noted what was imported
            await runner.kill()

    def test_a_runner_has_its_own_place_and_variables_all_the_same(self, fleet):
        async def test(bench):
            root = bench.project(self.SOURCE)
            one, _ = await self.forked(bench, root, variables={"TOKEN": "first"}, grant=Grant(gpus=("0",)))
            two, _ = await self.forked(bench, root, variables={"TOKEN": "first"}, grant=Grant(gpus=("1",)))
            first, second = [json.loads(value(await run(runner, action="see"))) for runner in (one, two)]
            assert (first["CUDA_VISIBLE_DEVICES"], second["CUDA_VISIBLE_DEVICES"]) == ("0", "1")
            assert first["TOKEN"] == "first"
            assert len({first["cwd"], second["cwd"], str(root)}) == 3
            assert len({first["TMPDIR"], second["TMPDIR"]}) == 2
            assert {"cog.yaml", "predict.py"} <= set(first["here"])

        fleet(test)

    def test_another_secret_is_another_template(self, fleet):
        async def test(bench):
            root = bench.project(self.SOURCE)
            for secret in ("one", "two"):
                runner, _ = await self.forked(bench, root, variables={"TOKEN": secret})
                assert json.loads(value(await run(runner, action="see")))["TOKEN"] == secret

        fleet(test)

    def test_a_crash_is_told_and_has_a_successor(self, fleet):
        async def test(bench):
            runner, _ = await self.forked(bench, bench.project(self.SOURCE))
            with pytest.raises(RunnerLost, match="status 3"):
                await run(runner, action="crash")
            assert value(await run(runner, action="ok")) == "ok"

        fleet(test)

    def test_memory_is_limited_all_the_same(self, fleet):
        async def test(bench):
            runner, _ = await self.forked(bench, bench.project(self.SOURCE), grant=Grant(memory=512 * 1024**2))
            assert (await run(runner, action="hoard"))[-1].status is Status.FAILED

        fleet(test)

    @pytest.mark.parametrize("end", ["stop", "kill", "server", "template"])
    def test_nothing_is_left(self, fleet, end):
        async def test(bench):
            runner, pids = await self.forked(bench, bench.project(self.SOURCE))
            if end == "stop":
                await runner.stop(timedelta(seconds=10))
            elif end == "kill":
                await runner.kill()
            else:
                os.kill(servers().pop() if end == "server" else parent(pids[0]), signal.SIGKILL)
                if end == "template":  # its workers live on, until their runner ends
                    assert value(await run(runner, action="ok")) == "ok"
                    await runner.kill()
            await runner.ended
            assert not any(map(is_there, pids))

        fleet(test)

    def test_the_platforms_end_is_theirs(self, fleet):
        pids = []

        async def test(bench):
            _, found = await self.forked(bench, bench.project(self.SOURCE))
            pids.extend([*found, parent(found[0])])

        fleet(test)
        assert all(map(has_ended, pids))

    def test_who_does_not_want_templates_has_none(self, fleet):
        async def test(bench):
            root = bench.project(self.SOURCE)
            for _ in range(3):
                bench.text = ""
                runner = await bench.runner(root, variables={"DRIVETRAIN_SNAPSHOT": "off"})
                _, server, *_ = map(int, (await bench.logged(self.FAMILY)).groups())
                assert server in servers()
                await runner.kill()

        fleet(test)


def servers():
    """The model servers of this process's fleet."""
    with contextlib.suppress(ValueError):  # there is no template just now
        return set(children(template()))
    return set()


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
