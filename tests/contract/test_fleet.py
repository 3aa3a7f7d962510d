"""What `drivetrain.platform.fleet` promises, of every fleet there is, with real projects."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fleet_bench import ECHO, STOPPABLE, Bench, began, command_lines, fold, has_ended, is_there, process_fleet, run, value

from drivetrain.model.errors import OutsideFailed, ProjectError
from drivetrain.model.prediction import Completed, Log, Metric, Output, PredictionId, Started, Status
from drivetrain.model.project import Mode
from drivetrain.platform.fleet import (
    Answer,
    BuildFailed,
    Grant,
    Job,
    RunnerLost,
    RunnerRefused,
    SetupFailed,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
]

ADAPTERS = {"process": process_fleet}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Where environments are kept: one is made, by whichever test comes first."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(params=ADAPTERS)
def fleet(request, tmp_path, cache):
    """Runs a coroutine function with a fleet: ``fleet(test)``."""

    def run(test, seconds=60):
        async def main():
            async with ADAPTERS[request.param](tmp_path, cache) as it:
                return await asyncio.wait_for(test(Bench(it, tmp_path)), seconds)

        return asyncio.run(main())

    return run


class TestCapacity:
    def test_it_is_that_of_a_machine(self, fleet):
        async def test(bench):
            assert bench.fleet.capacity.memory > 100 * 1024**2
            assert bench.fleet.capacity.cpus > 0

        fleet(test)


class TestBuild:
    def test_the_environment_is_there_afterwards_and_a_second_time_is_quick(self, fleet):
        async def test(bench):
            root = bench.project(ECHO)
            await bench.build(root)
            bench.text = ""
            await bench.build(root)
            assert "Making" not in bench.text
            assert sorted(file.name for file in root.iterdir()) == ["cog.yaml", "predict.py"]

        fleet(test)

    def test_a_config_with_errors_is_an_error_of_the_project_that_names_all_of_them(self, fleet):
        async def test(bench):
            root = bench.project(ECHO, "  python_packages: 7\nconcurrency: many\n")
            with pytest.raises(ProjectError) as caught:
                await bench.build(root)
            assert "python_packages" in caught.value.detail
            assert "concurrency" in caught.value.detail

        fleet(test)

    def test_what_cannot_be_installed_says_what_the_installer_said(self, fleet):
        async def test(bench):
            root = bench.project(ECHO, "  python_packages: ['./nowhere']\n")
            with pytest.raises((BuildFailed, ProjectError)) as caught:
                await bench.build(root)
            assert "nowhere" in f"{caught.value.message} {caught.value.detail}"

        fleet(test)

    def test_it_can_be_canceled_and_leaves_no_installer(self, fleet):
        async def test(bench):
            package = bench.directory / "package"
            package.mkdir()
            told = bench.directory / "told"
            os.mkfifo(told)
            (package / "pyproject.toml").write_text(
                "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
            )
            (package / "backend.py").write_text(
                f"import os, time\nwith open({str(told)!r}, 'w') as file:\n    file.write(str(os.getpid()))\ntime.sleep(1000)\n"
            )
            root = bench.project(ECHO, f"  python_packages: ['{package}']\n")
            building = asyncio.ensure_future(bench.build(root))
            installer = int(await asyncio.to_thread(told.read_text))
            building.cancel()
            with pytest.raises(asyncio.CancelledError):
                await building
            assert has_ended(installer)

        fleet(test)


class TestReady:
    def test_it_says_what_the_model_is(self, fleet):
        async def test(bench):
            ready = await (await bench.start(ECHO)).ready()
            assert ready.schema["components"]["schemas"]["Input"]["properties"]["text"]["default"] == "text"
            assert [field.name for field in ready.signature.inputs] == ["text"]
            assert ready.train_signature is None
            assert ready.concurrency == 1
            assert set(ready.phases) == {"process", "import", "setup"}
            assert "set" not in bench.text

        fleet(test)

    def test_many_can_wait_for_it(self, fleet):
        async def test(bench):
            runner = await bench.start(ECHO)
            first, second = await asyncio.gather(runner.ready(), runner.ready())
            assert first is second

        fleet(test)

    def test_set_up_that_fails_says_why_and_ends_the_runner_and_its_output_is_in_the_log(self, fleet):
        source = """
            class Predictor:
                def setup(self):
                    print("loading weights")
                    raise RuntimeError("no weights here")
                def predict(self) -> str:
                    return ""
        """

        async def test(bench):
            runner = await bench.start(source)
            with pytest.raises(SetupFailed, match="no weights here") as caught:
                await runner.ready()
            assert "in setup" in caught.value.detail
            ending = await runner.ended
            assert not ending.was_asked
            assert "loading weights" in bench.text
            assert "no weights here" in bench.text

        fleet(test)

    def test_code_that_cannot_be_imported_says_so(self, fleet):
        async def test(bench):
            runner = await bench.start("import nowhere")
            with pytest.raises(SetupFailed, match="nowhere"):
                await runner.ready()
            await runner.ended

        fleet(test)

    def test_set_up_that_takes_too_long_is_ended(self, fleet):
        source = """
            import time
            class Predictor:
                def setup(self):
                    print("still at it", flush=True)
                    time.sleep(1000)
                def predict(self) -> str:
                    return ""
        """

        async def test(bench):
            runner = await bench.start(source, startup_timeout=timedelta(seconds=1))
            with pytest.raises(SetupFailed, match="not ready after 1 second") as caught:
                await runner.ready()
            assert "still at it" in caught.value.detail
            await runner.ended

        fleet(test)

    def test_a_process_that_dies_in_set_up_says_how(self, fleet):
        source = """
            import os
            class Predictor:
                def setup(self):
                    os._exit(7)
                def predict(self) -> str:
                    return ""
        """

        async def test(bench):
            runner = await bench.start(source)
            with pytest.raises(SetupFailed, match="status 7"):
                await runner.ready()
            await runner.ended

        fleet(test)


class TestRun:
    def test_events_are_those_of_a_life_in_order(self, fleet):
        async def test(bench):
            runner = await bench.runner(ECHO)
            events = await run(runner, text="hello")
            assert [type(event) for event in events] == [Started, Log, Output, Completed]
            assert events[1].data == "seen hello\n"
            assert value(events) == "olleh"
            assert events[-1].status is Status.SUCCEEDED
            assert events[0].at <= events[-1].at

        fleet(test)

    def test_items_come_as_they_are_made(self, fleet):
        source = """
            from typing import Iterator
            from cog import BasePredictor, current_scope
            class Predictor(BasePredictor):
                def predict(self, count: int) -> Iterator[str]:
                    for number in range(count):
                        yield str(number)
                    current_scope().record_metric("count", count)
        """

        async def test(bench):
            runner = await bench.runner(source)
            assert (await runner.ready()).signature.streams
            events = await run(runner, count=3000)
            assert [event.output.value for event in events if isinstance(event, Output)] == [str(number) for number in range(3000)]
            assert Metric(name="count", value=3000) in events

        fleet(test)

    def test_several_at_once_where_the_model_can(self, fleet):
        source = """
            import asyncio
            class Predictor:
                def __init__(self):
                    self.here = 0
                    self.all = asyncio.Event()
                async def predict(self) -> int:
                    self.here += 1
                    if self.here == 4:
                        self.all.set()
                    await self.all.wait()
                    return self.here
        """

        async def test(bench):
            runner = await bench.runner(source, concurrency=4)
            assert (await runner.ready()).concurrency == 4
            assert [value(each) for each in await asyncio.gather(*(run(runner, f"p{number}") for number in range(4)))] == [4] * 4

        fleet(test)

    def test_one_too_many_is_refused_as_busy(self, fleet):
        async def test(bench):
            runner = await bench.runner(STOPPABLE)
            first = await began(runner, bench, "wait")
            with pytest.raises(RunnerRefused) as caught:
                await run(runner, "other", action="no")
            assert caught.value.answer is Answer.BUSY
            await runner.cancel(PredictionId("p"))
            await first

        fleet(test)

    def test_code_that_raises_fails_the_prediction_with_its_traceback(self, fleet):
        source = """
            class Predictor:
                def predict(self) -> str:
                    raise ValueError("not today")
        """

        async def test(bench):
            runner = await bench.runner(source)
            events = await run(runner)
            assert events[-1].status is Status.FAILED
            assert events[-1].failure.message == "not today"
            assert "in predict" in events[-1].failure.traceback

        fleet(test)

    def test_inputs_that_do_not_fit_fail_the_prediction(self, fleet):
        async def test(bench):
            runner = await bench.runner(ECHO)
            (completed,) = await run(runner, text=[1])
            assert completed.status is Status.FAILED
            assert "text" in completed.failure.message
            assert value(await run(runner, text="ab")) == "ba"

        fleet(test)

    def test_context_reaches_the_model(self, fleet):
        source = """
            from cog import BasePredictor, current_scope
            class Predictor(BasePredictor):
                def predict(self) -> str:
                    return current_scope().context["who"]
        """

        async def test(bench):
            runner = await bench.runner(source)
            job = Job(
                id=PredictionId("p/1 ü"),
                input={},
                context={"who": "me"},
                trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            )
            assert value([event async for event in runner.run(job)]) == "me"

        fleet(test)

    def test_large_values_go_both_ways(self, fleet):
        async def test(bench):
            runner = await bench.runner(ECHO)
            text = "0123456789" * 2_000_000
            assert value(await run(runner, text=text)) == text[::-1]

        fleet(test)

    def test_a_slow_reader_gets_everything(self, fleet):
        source = """
            from typing import Iterator
            class Predictor:
                def predict(self) -> Iterator[str]:
                    for number in range(200):
                        yield str(number) * 20000
        """

        async def test(bench):
            runner = await bench.runner(source)
            numbers = []
            async for event in runner.run(Job(id=PredictionId("p"), input={})):
                if isinstance(event, Output):
                    numbers.append(len(event.output.value))
                    await asyncio.sleep(0.001)
            assert numbers == [len(str(number)) * 20000 for number in range(200)]

        fleet(test)

    def test_a_prediction_that_comes_again_is_run_again(self, fleet):
        source = """
            class Predictor:
                count = 0
                def predict(self) -> int:
                    self.count += 1
                    return self.count
        """

        async def test(bench):
            runner = await bench.runner(source)
            assert [value(await run(runner, "same")) for _ in range(3)] == [1, 2, 3]

        fleet(test)

    def test_a_closed_iterator_cancels(self, fleet):
        async def test(bench):
            runner = await bench.runner(STOPPABLE)
            events = runner.run(Job(id=PredictionId("p"), input={"action": "wait"}))
            async for event in events:
                if isinstance(event, Log):
                    break
            await events.aclose()
            while True:  # its slot is free once the code has been stopped
                with contextlib.suppress(RunnerRefused):
                    assert value(await run(runner, "next", action="ok")) == "ok"
                    return

        fleet(test)

    def test_trainings_have_a_runner_of_their_own_kind(self, fleet):
        source = """
            from cog import Input
            def train(steps: int = Input(default=3)) -> int:
                return steps
            class Predictor:
                def predict(self) -> str:
                    return ""
        """

        async def test(bench):
            root = bench.project(source)
            (root / "cog.yaml").write_text((root / "cog.yaml").read_text() + "train: predict.py:train\n")
            beside = await bench.runner(root)
            assert (await beside.ready()).train_signature.inputs[0].name == "steps"
            assert value(await run(beside, mode=Mode.TRAIN, steps=5)) == 5
            alone = await bench.runner(root, mode=Mode.TRAIN)
            assert (await alone.ready()).signature is None
            assert (await alone.ready()).train_signature.inputs[0].name == "steps"
            assert value(await run(alone, mode=Mode.TRAIN, steps=6)) == 6

        fleet(test)


class TestCancel:
    def test_events_end_as_ever(self, fleet):
        async def test(bench):
            runner = await bench.runner(STOPPABLE)
            task = await began(runner, bench, "wait")
            await runner.cancel(PredictionId("p"))
            assert fold(await task).status is Status.CANCELED
            assert value(await run(runner, "next", action="ok")) == "ok"

        fleet(test)

    def test_code_that_does_not_obey_is_given_up(self, fleet):
        async def test(bench):
            runner = await bench.runner(STOPPABLE, cancel_grace=timedelta(seconds=0.5))
            task = await began(runner, bench, "obstinate")
            await runner.cancel(PredictionId("p"))
            assert fold(await task).status is Status.CANCELED
            assert value(await run(runner, "next", action="ok")) == "ok"

        fleet(test)

    def test_one_that_has_just_been_sent_is_canceled_too(self, fleet):
        async def test(bench):
            runner = await bench.runner(STOPPABLE)
            task = asyncio.ensure_future(run(runner, action="wait"))
            await asyncio.sleep(0)
            await runner.cancel(PredictionId("p"))
            assert (await task)[-1].status is Status.CANCELED

        fleet(test)

    def test_one_that_is_not_there_is_nobodys_concern(self, fleet):
        async def test(bench):
            runner = await bench.runner(ECHO)
            await runner.cancel(PredictionId("nobody"))
            await run(runner)
            await runner.cancel(PredictionId("p"))

        fleet(test)


class TestLoss:
    def test_a_worker_that_dies_loses_the_prediction_and_has_a_successor(self, fleet):
        async def test(bench):
            runner = await bench.runner(STOPPABLE)
            with pytest.raises(RunnerLost, match="status 3"):
                await run(runner, action="crash")
            assert value(await run(runner, action="ok")) == "ok"
            assert not runner.ended.done()

        fleet(test)

    def test_a_worker_that_is_killed_loses_the_prediction(self, fleet):
        async def test(bench):
            runner = await bench.runner(STOPPABLE)
            task = await began(runner, bench, "wait")
            os.kill(int((await bench.logged(r"family (\d+)"))[1]), signal.SIGKILL)
            with pytest.raises(RunnerLost, match="SIGKILL"):
                await task

        fleet(test)

    def test_a_server_that_is_killed_takes_everything_along(self, fleet):
        async def test(bench):
            runner = await bench.runner(STOPPABLE)
            task = await began(runner, bench, "wait")
            worker, server, child, daemon = map(int, (await bench.logged(r"family (\d+) (\d+) (\d+) (\d+)")).groups())
            os.kill(server, signal.SIGKILL)
            with pytest.raises(RunnerLost):
                await task
            ending = await runner.ended
            assert (ending.was_asked, ending.description) == (False, "was killed by SIGKILL")
            assert not any(map(is_there, (worker, server, child, daemon)))
            with pytest.raises(RunnerRefused):
                await run(runner)

        fleet(test)

    def test_many_runners_at_once(self, fleet):
        async def test(bench):
            root = bench.project(ECHO)
            runners = await asyncio.gather(*(bench.runner(root) for _ in range(8)))
            values = await asyncio.gather(*(run(runner, text=str(number)) for number, runner in enumerate(runners)))
            assert [value(events) for events in values] == [str(number) for number in range(8)]
            await asyncio.gather(*(runner.kill() for runner in runners))

        fleet(test)

    def test_a_model_that_cannot_be_set_up_any_more_ends_the_runner(self, fleet):
        source = """
            import os, pathlib
            class Predictor:
                def setup(self):
                    mark = pathlib.Path("was-here")
                    if mark.exists():
                        os._exit(1)
                    mark.touch()
                def predict(self) -> str:
                    os._exit(2)
        """

        async def test(bench):
            runner = await bench.runner(source)
            with pytest.raises(RunnerLost):
                await run(runner)
            assert not (await runner.ended).was_asked

        fleet(test)


class TestEnd:
    def test_stop_lets_predictions_finish(self, fleet):
        source = """
            import time
            class Predictor:
                def predict(self) -> str:
                    print("began", flush=True)
                    time.sleep(0.3)
                    return "done"
        """

        async def test(bench):
            runner = await bench.runner(source)
            task = await began_any(runner)
            await runner.stop(timedelta(seconds=20))
            assert value(await task) == "done"
            assert (await runner.ended).was_asked
            assert (await runner.ended).description == "exited with status 0"

        async def began_any(runner):
            inside = asyncio.Event()
            events = []

            async def collect():
                async for event in runner.run(Job(id=PredictionId("p"), input={})):
                    events.append(event)
                    inside.set()
                return events

            task = asyncio.ensure_future(collect())
            await inside.wait()
            return task

        fleet(test)

    def test_stop_takes_no_more_and_cuts_off_what_outlasts_the_grace(self, fleet):
        async def test(bench):
            runner = await bench.runner(STOPPABLE)
            task = await began(runner, bench, "obstinate")
            stopping = asyncio.ensure_future(runner.stop(timedelta(seconds=0.5)))
            await asyncio.sleep(0)
            with pytest.raises(RunnerRefused):
                await run(runner, "other")
            with pytest.raises(RunnerLost):
                await task
            await stopping
            await runner.stop(timedelta(seconds=0))
            assert (await runner.ended).was_asked

        fleet(test)

    def test_stop_of_a_runner_that_is_not_ready(self, fleet):
        async def test(bench):
            runner = await bench.start(ECHO)
            await runner.stop(timedelta(seconds=10))
            assert runner.ended.done()
            with pytest.raises(SetupFailed):
                await runner.ready()

        fleet(test)

    @pytest.mark.parametrize("end", ["stop", "kill", "close"])
    def test_nothing_is_left(self, fleet, end):
        async def test(bench):
            runner = await bench.runner(STOPPABLE)
            pids = list(map(int, (await bench.logged(r"family (\d+) (\d+) (\d+) (\d+)")).groups()))
            assert all(map(is_there, pids))
            if end == "stop":
                await runner.stop(timedelta(seconds=10))
            elif end == "kill":
                await runner.kill()
                await runner.kill()
            else:
                await bench.fleet.aclose()
                await bench.fleet.aclose()
            assert runner.ended.done()
            assert not any(map(is_there, pids))
            if end == "close":
                with pytest.raises(OutsideFailed):
                    await bench.start(ECHO)

        fleet(test)

    def test_killing_does_not_wait_for_the_model(self, fleet):
        async def test(bench):
            runner = await bench.runner(STOPPABLE)
            task = await began(runner, bench, "obstinate")
            begun = time.monotonic()
            await runner.kill()
            assert time.monotonic() - begun < 5
            with pytest.raises(RunnerLost):
                await task

        fleet(test)


class TestSeclusion:
    SOURCE = """
        import json, os, pathlib, sys
        from cog import BasePredictor

        class Predictor(BasePredictor):
            def predict(self, write: str = "") -> str:
                if write:
                    pathlib.Path(write).write_text("mine")
                    pathlib.Path(os.environ["DRIVETRAIN_DATA"], write).write_text("ours")
                return json.dumps({
                    "environ": dict(os.environ),
                    "cwd": os.getcwd(),
                    "here": sorted(os.listdir()),
                    "data": sorted(os.listdir(os.environ["DRIVETRAIN_DATA"])),
                })
    """

    @staticmethod
    async def seen(runner, **inputs):
        return json.loads(value(await run(runner, **inputs)))

    def test_gpus_are_those_granted_whatever_secrets_say(self, fleet):
        async def test(bench):
            none = await bench.runner(self.SOURCE, variables={"CUDA_VISIBLE_DEVICES": "6"})
            two = await bench.runner(self.SOURCE, grant=Grant(gpus=("1", "3")))
            assert (await self.seen(none))["environ"]["CUDA_VISIBLE_DEVICES"] == ""
            assert (await self.seen(two))["environ"]["CUDA_VISIBLE_DEVICES"] == "1,3"

        fleet(test)

    def test_variables_reach_the_model_and_nobody_else(self, fleet):
        async def test(bench):
            runner = await bench.runner(self.SOURCE, variables={"TOKEN": "s3cr3t-value"})
            environ = (await self.seen(runner))["environ"]
            assert environ["TOKEN"] == "s3cr3t-value"
            assert "PLATFORM_SECRET" not in environ
            assert environ["HF_HOME"] == str(bench.directory / "data" / ".cache" / "huggingface")
            assert not any("s3cr3t-value" in line for line in command_lines())
            assert "s3cr3t-value" not in bench.text

        fleet(test)

    def test_runners_work_in_directories_of_their_own_and_share_their_data(self, fleet):
        async def test(bench):
            root = bench.project(self.SOURCE)
            (root / "weights.bin").write_bytes(b"0" * 5_000_000)
            one, two = await asyncio.gather(bench.runner(root), bench.runner(root))
            await self.seen(one, write="one.txt")
            seen = await self.seen(two)
            assert "one.txt" not in seen["here"]
            assert "weights.bin" in seen["here"]
            assert seen["data"] == ["one.txt"]
            assert sorted(file.name for file in root.iterdir()) == ["cog.yaml", "predict.py", "weights.bin"]

        fleet(test)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only the administrator may mount")
    def test_data_is_at_its_usual_place_too_where_that_is_there(self, fleet):
        source = """
            from cog import BasePredictor
            class Predictor(BasePredictor):
                def predict(self, place: str) -> str:
                    with open(f"{place}/note", "a") as note:
                        note.write("x")
                    return open(f"{place}/note").read()
        """

        async def test(bench):
            place = bench.directory / "place"
            place.mkdir()
            for expected in ("x", "xx"):
                runner = await bench.runner(source)
                assert value(await run(runner, place=str(place))) == expected
            assert not list(place.iterdir())
            assert (bench.directory / "data" / "note").read_text() == "xx"

        fleet(test)

    def test_memory_that_was_granted_is_all_there_is(self, fleet):
        source = """
            class Predictor:
                def predict(self, megabytes: int) -> int:
                    return len(bytes(megabytes * 1024 * 1024))
        """

        async def test(bench):
            runner = await bench.runner(source, grant=Grant(memory=512 * 1024**2))
            assert value(await run(runner, megabytes=100)) == 100 * 1024**2
            assert (await run(runner, megabytes=1000))[-1].status is Status.FAILED

        fleet(test)


class Files(BaseHTTPRequestHandler):
    """What the platform serves below ``files_url``."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        content = self.server.contents.get(self.path)
        self.send_response(200 if content is not None else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def do_PUT(self):
        self.server.contents[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Location", f"/files/token/stored/{len(self.server.contents)}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def files():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    server.daemon_threads = True
    server.contents = {}
    server.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class TestFiles:
    SOURCE = """
        from cog import BasePredictor, Path

        class Predictor(BasePredictor):
            def predict(self, file: Path) -> Path:
                out = Path("result.txt")
                out.write_text(file.read_text().upper())
                return out
    """

    def test_inputs_are_read_and_outputs_stored_below_the_platforms_url(self, fleet, files):
        files.contents["/files/token/inputs/a.txt"] = b"text"

        async def test(bench):
            runner = await bench.runner(self.SOURCE, files_url=f"{files.base}/files/token")
            events = await run(runner, "prediction", file=f"{files.base}/files/token/inputs/a.txt")
            assert value(events) == f"{files.base}/files/token/stored/2"
            assert files.contents["/files/token/uploads/prediction/result.txt"] == b"TEXT"

        fleet(test)

    @pytest.mark.parametrize(
        "path", ["/files/other/a.txt", "/files/token/../other/a.txt", "/files/token/%2e%2e/other/a.txt", "/files/tokens"]
    )
    def test_other_private_addresses_stay_refused(self, fleet, files, path):
        async def test(bench):
            runner = await bench.runner(self.SOURCE, files_url=f"{files.base}/files/token")
            (*_, completed) = await run(runner, file=files.base + path)
            assert completed.status is Status.FAILED
            assert "private address" in completed.failure.message

        fleet(test)


class TestFlood:
    def test_a_gigabyte_of_output_takes_no_memory_here(self, fleet):
        source = """
            import subprocess
            class Predictor:
                def setup(self):
                    subprocess.run("yes 01234567890123456789012345678901234567890123456789 | head -c 300000000", shell=True)
                def predict(self) -> str:
                    return "ok"
        """

        async def test(bench):
            seen = 0

            def count(text):
                nonlocal seen
                seen += len(text)

            before = _resident()
            runner = await bench.fleet.start(bench.order(bench.project(source)), count)
            await runner.ready()
            assert seen == 300_000_000
            assert _resident() - before < 50 * 1024**2
            assert value(await run(runner)) == "ok"

        fleet(test)


def _resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


PLATFORM = """
    import asyncio, os, sys
    from datetime import timedelta
    from pathlib import Path
    sys.path.insert(0, {here!r})
    from fleet_bench import Bench, STOPPABLE, ProcessFleet, began, read_settings

    async def main():
        fleet = ProcessFleet(read_settings(os.environ), Path({directory!r}) / "runners")
        await fleet.open()
        bench = Bench(fleet, Path({directory!r}))
        runner = await bench.runner(STOPPABLE)
        task = await began(runner, bench, {action!r})
        print(*(await bench.logged(r"family (\\\\d+) (\\\\d+) (\\\\d+) (\\\\d+)")).groups(), flush=True)
        await asyncio.sleep(1000)

    asyncio.run(main())
"""


class TestPlatformsEnd:
    @contextlib.contextmanager
    def platform(self, directory, cache, action):
        text = textwrap.dedent(PLATFORM).format(
            here=str(Path(__file__).parents[1] / "support"), directory=str(directory), action=action
        )
        process = subprocess.Popen(
            [sys.executable, "-c", text.replace("\\\\", "\\")],
            stdout=subprocess.PIPE,
            env={**os.environ, "DRIVETRAIN_CACHE_DIR": str(cache)},
            text=True,
        )
        with process:
            yield process, list(map(int, process.stdout.readline().split()))

    @pytest.mark.parametrize("action", ["wait", "obstinate"])
    def test_a_platform_that_is_killed_leaves_nothing_running(self, tmp_path, cache, action):
        with self.platform(tmp_path, cache, action) as (process, pids):
            process.kill()
        assert len(pids) == 4
        assert all(map(has_ended, pids))

    def test_what_survives_the_platform_and_its_server_is_ended_by_the_next_platform(self, tmp_path, cache):
        with self.platform(tmp_path, cache, "wait") as (process, pids):
            _, server, child, daemon = pids
            os.kill(pids[0], signal.SIGSTOP)  # a worker that is stuck cannot see that its server is gone
            for stopped in (server, process.pid):
                os.kill(stopped, signal.SIGSTOP)
            for killed in (server, process.pid):
                os.kill(killed, signal.SIGKILL)
        assert has_ended(server)
        assert is_there(daemon)

        async def next_platform():
            async with process_fleet(tmp_path, cache):
                assert not any(map(is_there, (pids[0], child, daemon)))

        asyncio.run(next_platform())
