"""What predictors in the wild rely on without saying so, and what careless ones do to the process they run in.

Each test is one habit of existing projects. What is in a project's image (packages, commands, ports) is tested elsewhere.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

WITH_PROC = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")


def outcome(made, **inputs):
    """Run once; the JSON that comes of it."""
    done = made.run("--json", json.dumps(inputs))
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def output(made, **inputs):
    result = outcome(made, **inputs)
    assert result["status"] == "succeeded", result["error"]
    return result["output"]


def processes_of(made):
    """Processes that belong to a project, by the directory for temporary files that each of them was told."""
    mark = f"TMPDIR={made.temporary}".encode()
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(OSError):
                if mark in (directory / "environ").read_bytes().split(b"\0"):
                    found.append(int(directory.name))
    return found


def wait_until_gone(made):
    deadline = time.monotonic() + 10
    while left := processes_of(made):
        assert time.monotonic() < deadline, [Path(f"/proc/{process}/cmdline").read_bytes() for process in left]
        time.sleep(0.02)


# Surroundings


def test_the_root_is_the_working_directory_and_importable_even_for_a_predictor_in_a_directory(project):
    made = project("", config="predict: deep/down/predict.py:Predictor\n")
    made.write("beside_root.py", "NAME = 'root'\n")
    made.write("deep/down/beside_predictor.py", "")
    made.write(
        "deep/down/predict.py",
        """
        import importlib.util, os
        import beside_root

        class Predictor:
            def setup(self):
                os.chdir("deep")

            def predict(self) -> list:
                beside = importlib.util.find_spec("beside_predictor")
                return [beside_root.NAME, os.path.basename(os.getcwd()), beside is None, os.path.exists("down")]
        """,
    )
    assert output(made) == ["root", "deep", True, True]


def test_the_module_goes_by_its_base_name_for_pickles_and_spawned_processes(project):
    made = project(
        """
        import multiprocessing, pickle, sys

        class State:
            pass

        def double(number):
            return 2 * number

        class Predictor:
            def predict(self) -> list:
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    doubled = pool.map(double, [1, 2])
                return [__name__, pickle.loads(pickle.dumps(State())).__class__ is sys.modules["predict"].State, doubled]

        if __name__ == "__main__":
            raise RuntimeError("run as a script")
        """
    )
    assert output(made) == ["predict", True, [2, 4]]


def test_code_that_parses_the_command_line_at_import_finds_it_empty(project):
    made = project(
        """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("--scale", type=int, default=4)
        options = parser.parse_args()

        class Predictor:
            def predict(self) -> int:
                return options.scale
        """
    )
    assert output(made) == 4


def test_child_pythons_are_the_models_and_know_cog(project):
    made = project(
        """
        import subprocess, sys

        class Predictor:
            def predict(self) -> list:
                program = "import sys, cog; print(sys.prefix)"
                prefixes = [subprocess.check_output([python, "-c", program], text=True) for python in ("python", sys.executable)]
                return [prefix.strip() == sys.prefix for prefix in prefixes]
        """
    )
    assert output(made) == [True, True]


def test_nothing_of_weight_is_imported_before_the_authors_module(project):
    made = project(
        """
        import os, sys
        heavy = sorted({"asyncio", "logging", "numpy", "pydantic", "threading", "torch"} & set(sys.modules))
        os.environ["HF_HOME"] = "/weights"

        class Predictor:
            def predict(self) -> list:
                return [heavy, os.environ["HF_HOME"]]
        """
    )
    assert output(made) == [[], "/weights"]


def test_the_project_is_read_and_written_at_run_time(project):
    made = project(
        """
        class Predictor:
            def predict(self) -> str:
                with open("cog.yaml") as config, open("cache.txt", "w") as cache:
                    return config.read()[:cache.write("cached!")]
        """
    )
    assert output(made) == "predict"
    assert (made.root / "cache.txt").read_text() == "cached!"


def test_modules_named_like_ours_and_like_cog_are_the_projects_own(project):
    made = project(
        """
        import main, protocol, session
        from cog import BasePredictor

        class Predictor(BasePredictor):
            def predict(self) -> list:
                return [main.NAME, protocol.NAME, session.NAME]
        """
    )
    for name in ("main", "protocol", "session", "drivetrain", "cog"):
        made.write(f"{name}.py", f"NAME = '{name}'\n")
    assert output(made) == ["main", "protocol", "session"]


@pytest.mark.parametrize("definition", ["def", "async def"])
def test_modules_named_like_those_of_the_standard_library_do_not_reach_the_worker(project, definition):
    made = project(
        f"""
        from cog import BaseModel, Path

        class Output(BaseModel):
            file: Path

        class Predictor:
            {definition} predict(self, image: Path) -> Output:
                return Output(file=image)
        """
    )
    names = "asyncio concurrent contextlib contextvars dataclasses inspect json logging mimetypes pathlib queue shutil tempfile threading urllib"
    for name in names.split():
        made.write(f"{name}.py", "raise ImportError('this is not the one')\n")
    made.write("photo.txt", "pixels")
    done = made.run("-i", "image=@photo.txt", "-o", "out.txt")
    assert done.returncode == 0, done.stderr


# Running


def test_synchronous_code_runs_on_the_main_thread_with_no_event_loop(project):
    made = project(
        """
        import asyncio, signal, time

        class Predictor:
            def predict(self) -> list:
                async def answer():
                    return "ran"

                def wake(*_):
                    raise TimeoutError
                signal.signal(signal.SIGALRM, wake)
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                try:
                    time.sleep(60)
                except TimeoutError:
                    return [asyncio.run(answer()), "woken"]
        """
    )
    assert output(made) == ["ran", "woken"]


def test_async_set_up_and_predictions_share_a_loop(project):
    made = project(
        """
        import asyncio

        class Predictor:
            async def setup(self):
                self.queue = asyncio.Queue()
                self.pump = asyncio.create_task(self.work())

            async def work(self):
                while True:
                    await asyncio.sleep(0)
                    await self.queue.put(asyncio.get_running_loop())

            async def predict(self) -> bool:
                return await self.queue.get() is asyncio.get_running_loop()
        """
    )
    done = made.run()
    assert done.stdout == "true\n"
    assert done.stderr == ""  # such as that a task was destroyed while it was pending


SERVERS = """
    import multiprocessing, subprocess, threading, time

    def serve():
        process = subprocess.Popen("echo started; while true; do sleep 0.01; echo serving; done", shell=True)
        process.wait()

    def rest():
        time.sleep(1000)

    class Predictor:
        def setup(self):
            threading.Thread(target=serve).start()
            multiprocessing.Process(target=rest).start()
            subprocess.Popen(["sleep", "1000"], start_new_session=True)
            subprocess.Popen(["sh", "-c", "(setsid sleep 1000 &)"])

        def predict(self) -> str:
            return "ok"
"""


@WITH_PROC
def test_servers_that_set_up_starts_hold_nothing_up_and_are_gone_in_the_end(project):
    made = project(SERVERS)
    begin = time.monotonic()
    assert output(made) == "ok"
    assert time.monotonic() - begin < 60  # nobody waited for those that sleep
    wait_until_gone(made)


@WITH_PROC
@pytest.mark.parametrize(
    "predict", ["def predict(self, seconds: int)", "async def predict(self, seconds: int)"], ids=["sync", "async"]
)
def test_nothing_lives_on_when_the_server_is_killed(project, predict):
    made = project(SERVERS.replace("def predict(self)", predict).replace('return "ok"', "time.sleep(seconds); return 'ok'"))
    process = made.start("-i", "seconds=1000", stderr=subprocess.PIPE)
    with process:
        assert "serving\n" in iter(process.stderr.readline, "")
        process.kill()
    wait_until_gone(made)


def test_a_thread_that_never_ends_does_not_keep_exit_handlers_from_running(project):
    made = project(
        """
        import atexit, threading, time

        class Predictor:
            def setup(self):
                threading.Thread(target=time.sleep, args=(1000,)).start()
                atexit.register(print, "tidied up")

            def predict(self) -> str:
                return "ok"
        """
    )
    done = made.run()
    assert (done.stdout, done.stderr) == ("ok\n", "tidied up\n")


@pytest.mark.parametrize(
    ("ending", "status"),
    [("return 'the result of a copy'", 0), ("raise ValueError('in a copy')", 1), ("sys.exit(4)", 4)],
    ids=["returns", "raises", "exits"],
)
def test_a_forked_child_that_comes_back_does_not_answer_for_the_worker(project, ending, status):
    made = project(
        f"""
        import os, sys

        class Predictor:
            def predict(self) -> str:
                child = os.fork()
                if child == 0:
                    {ending}
                return "child ended with %d" % (os.waitpid(child, 0)[1] >> 8)
        """
    )
    assert output(made) == f"child ended with {status}"


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("sys.exit('enough')", "SystemExit: enough"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("os._exit(3)", "exited with status 3"),
        ("ctypes.string_at(0)", "killed by SIGSEGV"),
    ],
)
def test_code_that_ends_the_process_fails_the_prediction_and_keeps_its_log(project, statement, told):
    made = project(
        f"import ctypes, os, sys\ndef predict() -> int:\n    print('so far')\n    {statement}\n",
        config="predict: predict.py:predict\n",
    )
    with made.serve() as server:
        body = server.predict()
        assert body["status"] == "failed"
        assert told in body["error"]
        assert body["logs"].startswith("so far\n")


CANCELABLE = """
    import time

    def wait():
        print("begun", flush=True)
        time.sleep(60)

    class Predictor:
        def predict(self, how: str) -> str:
            return getattr(self, how)()

        def careless(self):
            try:
                wait()
            except Exception:
                return "not even noticed"

        def tidy(self):
            try:
                wait()
            finally:
                print("cleaned up")

        def stubborn(self):
            try:
                wait()
            except BaseException:
                return "finished anyway"

        def fine(self):
            return "fine"
"""


@pytest.mark.parametrize(("how", "status"), [("careless", "canceled"), ("tidy", "canceled"), ("stubborn", "succeeded")])
def test_a_cancelation_reaches_the_code_whatever_it_catches(project, how, status):
    with project(CANCELABLE).serve() as server:
        body = server.predict(_prefer="respond-async", how=how)
        server.wait_until(body["id"], lambda answer: "begun" in answer["logs"])
        server.client.post(f"/predictions/{body['id']}/cancel")
        assert server.wait_until(body["id"], lambda answer: answer["completed_at"])["status"] == status
        assert server.predict(how="fine")["output"] == "fine"


def test_an_async_prediction_that_is_canceled_before_its_first_step_ends_as_canceled(project):
    made = project(
        """
        import asyncio, time
        from cog import concurrent

        class Predictor:
            @concurrent(max=2)
            async def predict(self, blocks: bool) -> None:
                print("begun")
                if blocks:
                    time.sleep(0.5)
                await asyncio.sleep(60)
        """
    )
    with made.serve() as server:
        first = server.predict(_prefer="respond-async", blocks=True)
        server.wait_until(first["id"], lambda answer: answer["logs"])
        second = server.predict(_prefer="respond-async", blocks=False)  # the start and the cancelation arrive together
        begin = time.monotonic()
        for body in (second, first):
            server.client.post(f"/predictions/{body['id']}/cancel")
        for body in (second, first):
            assert server.wait_until(body["id"], lambda answer: answer["completed_at"])["status"] == "canceled"
        assert time.monotonic() - begin < 5


def test_an_event_loop_that_the_code_stops_goes_on(project):
    made = project(
        """
        import asyncio

        class Predictor:
            async def predict(self) -> str:
                asyncio.get_running_loop().stop()
                await asyncio.sleep(0)
                return "ok"
        """
    )
    with made.serve() as server:
        assert [server.predict()["output"] for _ in range(2)] == ["ok", "ok"]


def test_a_generator_is_closed_at_the_cancelation_and_its_items_are_kept(project):
    made = project(
        """
        import time
        from typing import Iterator

        class Predictor:
            def predict(self) -> Iterator[str]:
                try:
                    yield "one"
                    time.sleep(60)
                finally:
                    print("closed")
        """
    )
    with made.serve() as server:
        body = server.predict(_prefer="respond-async")
        server.wait_until(body["id"], lambda answer: answer["output"])
        server.client.post(f"/predictions/{body['id']}/cancel")
        ended = server.wait_until(body["id"], lambda answer: answer["completed_at"])
        assert (ended["status"], ended["output"], ended["logs"]) == ("canceled", ["one"], "closed\n")


def test_what_was_yielded_before_an_error_is_kept(project):
    made = project(
        """
        from typing import Iterator

        class Predictor:
            def predict(self) -> Iterator[str]:
                yield "one"
                raise ValueError("two")
        """
    )
    result = outcome(made)
    assert (result["status"], result["output"], result["error"]) == ("failed", ["one"], "two")


def test_state_is_kept_between_predictions(project):
    made = project(
        "class Predictor:\n    count = 0\n    def predict(self) -> int:\n        self.count += 1\n        return self.count\n"
    )
    with made.serve() as server:
        assert [server.predict()["output"] for _ in range(3)] == [1, 2, 3]


DECORATED = """
    from __future__ import annotations
    import contextlib, functools
    from typing import Optional
    from cog import BasePredictor, Input

    class inference_mode(contextlib.ContextDecorator):
        def __enter__(self):
            return self
        def __exit__(self, *error):
            return False

    def proper(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs)
        return wrapper

    def sloppy(function):
        def wrapper(self, *args, **kwargs):
            return function(self, *args, **kwargs)
        return wrapper

    class Predictor(BasePredictor):
        @DECORATOR
        def predict(self, size: int = Input(ge=1), name: Optional[str] = Input(default="q")) -> str:
            return "%s %r %r" % (type(size).__name__, size, name)
"""


@pytest.mark.parametrize("decorator", ["inference_mode()", "proper", "sloppy"])
def test_a_signature_is_read_through_decorators(project, decorator):
    made = project(DECORATED.replace("DECORATOR", decorator))
    with made.serve() as server:
        assert server.predict(size="3")["output"] == "int 3 'q'"
        assert server.client.post("/predictions", json={"input": {"size": 0}}).status_code == 422


def test_a_predictor_can_be_put_together_from_bases_and_warm_itself_up(project):
    made = project(
        """
        from base import Common, Shared

        class Predictor(Shared, Common):
            def setup(self):
                super().setup()
                self.warmed = self.predict(x=1)
        """
    )
    made.write(
        "base.py",
        """
        from cog import BasePredictor, Input

        class Shared:
            def shift(self):
                return 10

        class Common(BasePredictor):
            warmed = None

            def setup(self):
                self.factor = 3

            def predict(self, x: int = Input(ge=0), y: int = Input(default=4)) -> list:
                return [x * self.factor + y + self.shift(), self.warmed]
        """,
    )
    assert output(made, x=2) == [20, [17, None]]


# Inputs


def test_an_input_file_has_its_suffix_is_an_ordinary_path_and_may_be_taken_away(project):
    made = project(
        """
        import os, pathlib
        from cog import Path

        class Predictor:
            def predict(self, image: Path) -> list:
                facts = [isinstance(image, pathlib.Path), str(image).endswith(".png"), open(image).read(), os.fspath(image) == str(image)]
                os.rename(image, "moved.png")
                return facts
        """
    )
    with made.serve() as server:
        assert server.predict(image="data:image/png;base64,cGl4ZWxz")["output"] == [True, True, "pixels", True]


def test_default_paths_and_none_are_given_as_they_are_written(project):
    made = project(
        """
        from typing import Optional
        from cog import Input, Path

        class Predictor:
            def predict(self, a: Optional[Path] = None, b: Path = Input(default=None), c: Path = Input(default="c.png"),
                        d: Path = Path("d.png"), seed: int = Input(default=None)) -> list:
                return [a, b, str(c), str(d), seed]
        """
    )
    assert output(made) == [None, None, "c.png", "d.png", None]


INPUTS = """
    from cog import Input, Path, Secret

    SIZES = {1: "one", 2: "two"}

    class Predictor:
        def predict(self, text: str = Input(), size: int = Input(default=1, choices=list(SIZES)), ratio: float = 0.5,
                    token: Secret = None, image: Path = None) -> list:
            return [text, SIZES[size], type(ratio).__name__, f"{token}", token and token.get_secret_value()]
"""


def test_inputs_are_coerced_without_loss_and_refused_otherwise(project):
    with project(INPUTS).serve() as server:

        def status(**inputs):
            return server.client.post("/predictions", json={"input": inputs}).status_code

        body = server.predict(text="", size="2", ratio="1e3", token="hush", unknown=1)
        assert body["output"] == ["", "two", "float", "**********", "hush"]
        assert body["input"]["token"] == "**********"
        assert [status(text="x", size=3), status(text="x", size=1.5), status(), status(text="x", image="/etc/passwd")] == [422] * 4


def test_the_context_of_a_request_is_in_the_scope(project):
    made = project(
        "from cog import current_scope\ndef predict() -> dict:\n    return current_scope().context\n",
        config="predict: predict.py:predict\n",
    )
    with made.serve() as server:
        answer = server.client.post("/predictions", json={"input": {}, "context": {"user": "ada"}})
        assert answer.json()["output"] == {"user": "ada"}


def test_a_file_that_is_not_there_is_found_out_before_anything_starts(project):
    made = project(INPUTS + "        def setup(self):\n            print('setting up')\n")
    done = made.run("-i", "text=x", "-i", "image=nowhere.png")
    assert done.returncode == 2
    assert "'nowhere.png'" in done.stderr
    assert "setting up" not in done.stderr


# Outputs


def test_files_are_found_wherever_they_are_in_an_output(project):
    made = project(
        """
        import io, pathlib, tempfile
        from typing import Any
        from cog import BaseModel, Path

        def written(name):
            pathlib.Path(name).parent.mkdir(exist_ok=True)
            pathlib.Path(name).write_text(name)
            return name

        class Result(BaseModel):
            file: Path

        class Predictor:
            def predict(self) -> Any:
                temporary = tempfile.NamedTemporaryFile("w+", suffix=".txt")
                temporary.write("temporary")
                return {
                    "plain": pathlib.Path(written("a.txt")),
                    "list": [Path(written("one/b.txt")), Path(written("two/b.txt"))],
                    "model": Result(file=Path(written("c.txt"))),
                    "handle": open(written("d.txt"), "rb"),
                    "memory": io.BytesIO(b"memory"),
                    "temporary": temporary,
                }
        """
    )
    files = output(made)
    texts = {name: (made.root / files[name]).read_text() for name in ("plain", "handle", "memory", "temporary")}
    assert texts == {"plain": "a.txt", "handle": "d.txt", "memory": "memory", "temporary": "temporary"}
    assert [(made.root / name).read_text() for name in files["list"]] == ["one/b.txt", "two/b.txt"]
    assert (made.root / files["model"]["file"]).read_text() == "c.txt"
    assert (made.root / "a.txt").exists()


def test_a_file_that_is_yielded_again_and_again_is_read_each_time(project):
    made = project(
        """
        from typing import Iterator
        from cog import Path

        class Predictor:
            def predict(self) -> Iterator[Path]:
                path = Path("progress.txt")
                for step in range(3):
                    path.write_text(str(step))
                    yield path
                path.unlink()
        """
    )
    assert [(made.root / name).read_text() for name in output(made)] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("annotation", "value", "given"),
    [
        ("str", "None", None),
        ("List[int]", "(n for n in (1, 2))", [1, 2]),
        ("Iterator[str]", "['a', 'b']", ["a", "b"]),
        ("int", "0", 0),
        ("str", "''", ""),
        ("bool", "False", False),
        ("list", "[]", []),
        ("Path", "'https://example.com/x.png'", "https://example.com/x.png"),
    ],
)
def test_what_is_returned_counts_more_than_what_was_announced(project, annotation, value, given):
    source = f"from typing import *\nfrom cog import Path\ndef predict() -> {annotation}:\n    return {value}\n"
    assert output(project(source, config="predict: predict.py:predict\n")) == given


@pytest.mark.parametrize(
    ("annotation", "value", "told"),
    [
        ("Any", "float('nan')", "is nan, which JSON cannot express"),
        ("Any", "b'abc'", "is of type 'bytes'"),
        ("Any", "holds_itself", "holds itself"),
        ("Iterator[str]", "5", "promises an iterator"),
        ("Path", "Path('nowhere.png')", "'nowhere.png', where there is no file"),
    ],
)
def test_an_output_that_cannot_be_handed_over_is_told_once_and_without_our_frames(project, annotation, value, told):
    source = f"""
        from typing import *
        from cog import Path

        holds_itself = []
        holds_itself.append(holds_itself)

        def predict() -> {annotation}:
            return {value}
        """
    done = project(source, config="predict: predict.py:predict\n").run()
    assert done.returncode == 1
    assert done.stderr.startswith("error: the prediction failed: the output ")
    assert told in done.stderr


COUNTING = """
    import time
    from typing import Iterator
    from cog import Path

    class Predictor:
        def predict(self, files: bool = False) -> Iterator[ITEM]:
            path = Path("count.txt")
            for number in range(1000):
                path.write_text(str(number))
                yield path if files else f"number {number}"
                time.sleep(0.01)
"""


def test_a_reader_that_has_seen_enough_ends_the_run(project):
    made = project(COUNTING.replace("ITEM", "str"))
    with made.start(stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == "number 0\n"
        process.stdout.close()
        assert process.wait(timeout=5) == 1
        assert process.stderr.read() == ""


def test_a_file_that_cannot_be_put_in_its_place_ends_the_run(project):
    made = project(COUNTING.replace("ITEM", "Path"))
    (made.root / "output.1.txt").mkdir()
    done = made.run("-i", "files=true")
    assert done.returncode == 1
    assert done.stderr.endswith("error: cannot write the output to 'output.1.txt': Is a directory\n")


# Logs


def test_everything_that_is_written_is_in_the_log_of_its_prediction(project):
    made = project(
        """
        import ctypes, logging, os, subprocess, sys, threading

        logging.basicConfig(level=logging.INFO)
        at_import = sys.stderr

        class Predictor:
            def predict(self, name: str) -> None:
                at_import.write("bound early\\n")
                logging.info("logged")
                subprocess.run("echo from a child; echo and its errors >&2", shell=True)
                ctypes.CDLL(None).puts(b"from native code")
                os.write(1, b"by descriptor\\n")
                thread = threading.Thread(target=print, args=("from a thread",))
                thread.start()
                thread.join()
                sys.stderr.write("\\r50%\\r100%\\n")
                print(name, "has no end", end="")
        """
    )
    expected = (
        "bound early\nINFO:root:logged\nfrom a child\nand its errors\nfrom native code\nby descriptor\nfrom a thread\n"
        "\r50%\r100%\n{} has no end"
    )
    with made.serve() as server:
        assert [server.predict(name=name)["logs"] for name in ("one", "two")] == [expected.format("one"), expected.format("two")]


def test_with_several_predictions_at_once_each_has_its_own_log(project):
    made = project(
        """
        import asyncio, logging
        from cog import concurrent, current_scope

        logging.basicConfig(level=logging.INFO)

        def work(name):
            print(name, "in a thread")
            current_scope().record_metric("name", name)

        class Predictor:
            @concurrent(max=2)
            async def predict(self, name: str) -> None:
                for _ in range(2):
                    print(name, end="; ")
                    await asyncio.sleep(0.02)
                logging.info(name)
                await asyncio.get_running_loop().run_in_executor(None, work, name)
        """
    )
    with made.serve() as server:
        ids = [server.predict(_prefer="respond-async", name=name)["id"] for name in ("one", "two")]
        ended = [server.wait_until(each, lambda answer: answer["completed_at"]) for each in ids]
    assert [body["logs"] for body in ended] == [
        f"{name}; {name}; INFO:root:{name}\n{name} in a thread\n" for name in ("one", "two")
    ]
    assert [body["metrics"]["name"] for body in ended] == ["one", "two"]


@pytest.mark.parametrize(
    "statement",
    ["sys.stdout.close()", "io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8')", "sys.stdout = open(os.devnull, 'w')"],
    ids=["closed", "wrapped", "replaced"],
)
def test_what_one_prediction_does_to_its_streams_does_not_fail_the_next(project, statement):
    made = project(
        f"""
        import io, os, sys

        class Predictor:
            def predict(self) -> str:
                print("printed")
                {statement}
                return "ok"
        """
    )
    with made.serve() as server:
        assert [server.predict()["output"] for _ in range(2)] == ["ok", "ok"]


@pytest.mark.parametrize("definition", ["def", "async def"])
def test_an_error_is_told_though_the_code_has_closed_what_it_put_in_the_place_of_stderr(project, definition):
    made = project(
        f"""
        import io, sys

        class Predictor:
            {definition} predict(self) -> str:
                sys.stderr = io.StringIO()
                sys.stderr.close()
                raise ValueError("no luck")
        """
    )
    with made.serve() as server:
        bodies = [server.predict() for _ in range(2)]
    assert [body["error"] for body in bodies] == ["no luck", "no luck"]
    assert all(body["logs"].endswith("ValueError: no luck\n") for body in bodies)


# Life cycle


def test_health_is_answered_during_set_up(project):
    made = project(
        """
        class Predictor:
            def setup(self):
                with open("gate") as gate:  # a named pipe: waits until somebody opens the other end
                    gate.read()

            def predict(self) -> str:
                return "ok"
        """
    )
    gate = made.root / "gate"
    os.mkfifo(gate)
    with made.serve(ready=False) as server:
        assert server.health()["status"] == "STARTING"
        assert server.client.post("/predictions", json={}).status_code == 503
        gate.write_text("")
        server.wait_for_health("READY")
        assert server.predict()["output"] == "ok"


@pytest.mark.parametrize("definition", ["def", "async def"])
def test_a_prediction_under_way_is_finished_when_the_server_is_told_to_stop(project, definition):
    made = project(
        f"""
        import time

        class Predictor:
            {definition} predict(self) -> str:
                print("begun", flush=True)
                time.sleep(0.3)
                open("finished", "w").close()
                return "ok"
        """
    )
    with made.serve() as server:
        body = server.predict(_prefer="respond-async")
        server.wait_until(body["id"], lambda answer: "begun" in answer["logs"])
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=20) == 0
    assert (made.root / "finished").exists()


def test_set_up_that_catches_everything_can_be_stopped(project):
    made = project(
        """
        import time

        class Predictor:
            def setup(self):
                while True:
                    try:
                        print("connecting", flush=True)
                        time.sleep(60)
                    except Exception:
                        pass

            def predict(self) -> str:
                return "ok"
        """
    )
    with made.serve(ready=False) as server:
        server.wait_for("connecting")
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=20) == 0
        assert time.monotonic() - begin < 5


def test_the_first_releases_of_cog_are_answered_with_what_to_write_instead(project):
    made = project(
        """
        import cog

        class Predictor(cog.Predictor):
            @cog.input("text", type=str)
            def predict(self, text):
                return text
        """
    )
    done = made.run("-i", "text=x")
    assert done.returncode == 1
    assert "derive from cog.BasePredictor" in done.stderr


def test_one_project_predicts_and_trains(project):
    made = project(
        """
        from cog import BaseModel, Path

        class TrainingOutput(BaseModel):
            weights: Path

        def train(steps: int) -> TrainingOutput:
            path = Path("made.bin")
            path.write_text("w" * steps)
            return TrainingOutput(weights=path)

        class Predictor:
            def setup(self, weights: Path = None):
                self.weights = weights

            def predict(self) -> str:
                return self.weights.read_text()
        """,
        config="build: {python_version: 3.10}\npredict: predict.py:Predictor\ntrain: predict.py:train\n",
    )
    assert made.cli("train", "-i", "steps=3", "-o", "weights.bin").returncode == 0
    assert made.run("-e", "COG_WEIGHTS=weights.bin").stdout == "www\n"
