"""Workers that are forked from a template are what workers are that were started; and where they would not be, they are started."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from programs import Program

from drivetrain.environments.installed import installed_interpreters
from drivetrain.environments.uv import uv_binary
from drivetrain.settings import read_settings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="templates are for Linux")

#: What most tests ask of a worker: who it is, and whose child.
SOURCE = """
import os
import signal
import sys
import time

from cog import BasePredictor


class Predictor(BasePredictor):
    def setup(self):
        self.setup_pid = os.getpid()

    def predict(self, do: str = "tell") -> dict:
        return getattr(self, do)()

    def tell(self):
        return {"pid": os.getpid(), "parent": os.getppid(), "setup": self.setup_pid}

    def crash(self):
        os.kill(os.getpid(), signal.SIGSEGV)

    def leave(self):
        os._exit(3)

    def sleep(self):
        print("sleeping", flush=True)
        time.sleep(600)

    def talk(self):
        print("from Python")
        os.system("echo from a child >&2")
        return {}

    def surroundings(self):
        import resource
        import threading

        return {
            "variables": {name: value for name, value in os.environ.items() if name != "DRIVETRAIN_WORKER"},
            "marks": os.environ["DRIVETRAIN_WORKER"].encode() in open("/proc/self/environ", "rb").read(),
            "directory": os.getcwd(),
            "arguments": sys.argv,
            "path": sys.path,
            "umask": os.umask(0o22),
            "group": os.getpgrp() == os.getpid() == os.getsid(0),
            "files": resource.getrlimit(resource.RLIMIT_NOFILE),
            "signals": [str(signal.getsignal(number)) for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)],
            "threads": threading.active_count(),
            "descriptors": sorted(os.readlink(f"/proc/self/fd/{n}").split(":")[0] for n in os.listdir("/proc/self/fd") if n != "3"),
        }
"""


def until(predicate):
    """Ask until it is so; what it says."""
    deadline = time.monotonic() + 20
    while not (answer := predicate()):
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)
    return answer


def records(made):
    return list((Path(made.environ["DRIVETRAIN_CACHE_DIR"]) / "imports").glob("*.json"))


def learn(made, *arguments):
    """Serve once, so that it is known what the project imports."""
    with made.serve("--snapshot", "imports", *arguments):
        until(lambda: records(made))


def ask(server, do="tell"):
    answer = server.predict(do=do)
    assert answer["status"] == "succeeded", answer
    return answer["output"]


def children_of(process):
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return []


def template_of(server):
    """The template's process, once it is there."""

    def find():
        for child in children_of(server.process.pid):
            with contextlib.suppress(OSError):
                if b"template" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                    return child
        return None

    return until(find)


def respawned(server, old):
    """What the worker tells that came after the old one."""
    return until(
        lambda: (now := server.predict(do="tell")).get("status") == "succeeded" and now["output"]["pid"] != old and now["output"]
    )


def crash(server):
    assert "SIGSEGV" in server.predict(do="crash")["error"]


@pytest.fixture(scope="module")
def forked(make_project, tmp_path_factory):
    """A server whose workers are forked."""
    made = make_project(tmp_path_factory.mktemp("forked"), SOURCE)
    learn(made)
    with made.serve("--snapshot", "imports") as server:
        yield server


@pytest.fixture(scope="module")
def started(make_project, tmp_path_factory):
    """A server whose workers are started, of the same project."""
    made = make_project(tmp_path_factory.mktemp("started"), SOURCE)
    with made.serve() as server:
        yield server


def test_what_is_learnt_at_the_first_start_is_done_ahead_at_the_second(project):
    made = project(SOURCE)
    with made.serve("--snapshot", "imports") as server:
        assert ask(server)["parent"] == server.process.pid
        until(lambda: records(made))
    with made.serve("--snapshot", "imports") as server:
        told = ask(server)
        assert (told["parent"], told["setup"]) == (template_of(server), told["pid"])


def test_with_several_workers_nothing_need_be_said(project):
    made = project(SOURCE)
    with made.serve("--workers", "2"):
        until(lambda: records(made))
    with made.serve("--workers", "2", "--queue", "4") as server:
        template = template_of(server)
        until(lambda: len(children_of(template)) == 2)
        assert children_of(server.process.pid) == [template]


def test_a_worker_finds_the_surroundings_that_it_would_find_otherwise(forked, started):
    def surroundings(server):
        found = ask(server, "surroundings")
        root = str(Path(found["directory"]).parent)
        return json.loads(json.dumps(found).replace(root, "/directory"))

    ours, theirs = surroundings(forked), surroundings(started)
    assert ours["marks"]
    assert ours == theirs


def test_logs_are_those_of_the_prediction(forked):
    assert forked.predict(do="talk")["logs"] == "from Python\nfrom a child\n"


def test_a_worker_that_crashed_is_followed_by_another_fork(forked):
    before = ask(forked)
    crash(forked)
    after = respawned(forked, before["pid"])
    assert after["parent"] == before["parent"] != forked.process.pid


def test_an_end_is_told_for_what_it_was(forked):
    before = ask(forked)
    assert "exited with status 3" in forked.predict(do="leave")["error"]
    respawned(forked, before["pid"])


def test_a_cancelation_lands_in_a_fork(forked):
    body = forked.predict(_prefer="respond-async", do="sleep")
    forked.wait_until(body["id"], lambda answer: "sleeping" in answer["logs"])
    forked.client.post(f"/predictions/{body['id']}/cancel")
    assert forked.wait_until(body["id"], lambda answer: answer["status"] != "processing")["status"] == "canceled"
    assert ask(forked)["parent"] != forked.process.pid


def test_a_template_that_is_killed_takes_nobody_with_it_and_is_made_again(project):
    made = project(SOURCE)
    learn(made)
    with made.serve("--snapshot", "imports") as server:
        first, worker = template_of(server), ask(server)
        os.kill(first, signal.SIGKILL)
        second = until(lambda: (found := template_of(server)) != first and found)
        assert ask(server)["pid"] == worker["pid"]
        server.predict(do="crash")  # how it ended nobody knows, but that it did is known
        assert respawned(server, worker["pid"])["parent"] in (second, server.process.pid)


def test_a_template_that_hangs_does_not_keep_workers_from_starting(project):
    made = project(SOURCE)
    learn(made)
    with made.serve("--snapshot", "imports") as server:
        template = template_of(server)
        worker = ask(server)
        os.kill(template, signal.SIGSTOP)
        server.client.post("/predictions", json={"input": {"do": "leave"}}, headers={"Prefer": "respond-async"})
        assert server.client.get("/health-check").status_code == 200  # nobody waits for it in the event loop
        assert respawned(server, worker["pid"])["parent"] == server.process.pid
        assert "the template did not fork it" in "".join(server.lines)


def test_a_template_that_does_not_take_its_whole_order_is_ended_and_workers_are_started(project, tmp_path):
    """It could be long on its way to reading it, and then has half of it for ever."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\ncase "$*" in *" template "*) exec sleep 600;; esac\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    large = "import os\nos.environ.update({f'PLACE_{number}': 'x' * 10_000 for number in range(50)})\nimport colorsys\n"
    made = project(large + SOURCE, python=python)
    learn(made)
    with made.serve("--snapshot", "imports") as server:
        assert ask(server)["parent"] == server.process.pid


def test_template_and_workers_end_with_a_server_that_is_killed(project, tmp_path):
    made = project(SOURCE)
    learn(made)
    command = [Path(sys.executable).parent / "drivetrain", "serve", "--port", "0", "--env", "host", "--snapshot", "imports"]
    with Program(command, cwd=made.root, env=made.environment(), stderr=subprocess.PIPE, text=True) as process:
        base = process.stderr.readline().split()[-1]
        with httpx.Client(base_url=base) as client:
            until(lambda: client.get("/health-check").json()["status"] == "READY")
            told = client.post("/predictions", json={"input": {}}).json()["output"]
        process.kill()
    until(lambda: not any(Path(f"/proc/{each}").exists() for each in (told["pid"], told["parent"])))


def test_each_worker_draws_other_random_numbers(project):
    made = project(
        """
        import os
        import random
        import time
        import uuid
        import tempfile
        random.seed(7)

        class Predictor:
            def predict(self) -> list:
                time.sleep(0.2)  # so that both workers are busy
                names = tempfile._get_candidate_names()
                return [os.getpid(), random.random(), next(names), str(uuid.uuid4())]
        """
    )
    with made.serve("--workers", "2", "--snapshot", "after-setup") as server:

        def draw():
            def post(answers):
                answers.append(httpx.post(f"{server.base}/predictions", json={"input": {}}).json()["output"])

            answers = []
            threads = [threading.Thread(target=post, args=(answers,)) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return answers

        one, other = until(lambda: (drawn := draw()) and None not in drawn and drawn[0][0] != drawn[1][0] and drawn)
    assert not set(one) & set(other)


# What libraries and files are


@pytest.fixture
def libraries(tmp_path):
    """A directory of libraries outside the project, and the options that make it known."""
    directory = tmp_path / "libraries"
    directory.mkdir()

    class Libraries:
        options = ("-e", f"PYTHONPATH={directory}")

        def write(self, name, text):
            (directory / f"{name}.py").write_text(text)

    return Libraries()


def test_libraries_see_the_variables_that_the_project_sets_before_it_imports_them(project, libraries):
    libraries.write("early", "import os\nCACHE = os.environ.get('MODEL_CACHE')\nos.environ['SET_BY_LIBRARY'] = 'yes'\n")
    libraries.write("late", "import os\nCACHE = os.environ.get('MODEL_CACHE')\n")
    made = project(
        """
        import os
        import early
        SEEN = os.environ.get("MODEL_CACHE")
        os.environ["MODEL_CACHE"] = "/weights"
        import late

        class Predictor:
            def predict(self) -> list:
                return [early.CACHE, SEEN, late.CACHE, os.environ["SET_BY_LIBRARY"], os.getppid()]
        """
    )
    learn(made, *libraries.options)
    with made.serve("--snapshot", "imports", *libraries.options) as server:
        assert server.predict()["output"] == [None, None, "/weights", "yes", template_of(server)]


def test_a_worker_starts_itself_afresh_when_the_project_sets_other_variables_than_before(project, libraries):
    libraries.write("late", "import os\nCACHE = os.environ.get('MODEL_CACHE')\n")
    made = project(
        """
        import os
        os.environ["MODEL_CACHE"] = open("where.txt").read()
        import late

        class Predictor:
            def predict(self) -> list:
                return [late.CACHE, os.getppid()]
        """
    )
    made.write("where.txt", "/one")
    learn(made, *libraries.options)
    made.write("where.txt", "/two")
    with made.serve("--snapshot", "imports", *libraries.options) as server:
        cache, parent = server.predict()["output"]
        assert cache == "/two"
        assert parent != server.process.pid  # still the child of the template, with another interpreter
        text = until(lambda: [file.read_text() for file in records(made) if "/two" in file.read_text()])
        assert text


def test_the_reason_why_there_is_no_template_is_told_and_remembered(project, libraries):
    libraries.write("reporter", "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n")
    made = project("import os\nimport reporter\n\nclass Predictor:\n    def predict(self) -> int:\n        return os.getppid()\n")
    reason = "no template is kept for this project, since importing 'reporter' starts threads"
    with made.serve("--snapshot", "imports", *libraries.options) as server:
        assert "1 of its threads go on" in server.wait_for(reason)
        assert server.predict()["output"] == server.process.pid
    with made.serve("--workers", "2", "--snapshot", "imports", *libraries.options) as server:
        assert reason in "".join(server.lines)
        assert children_of(server.process.pid)
        assert server.predict()["output"] == server.process.pid


@pytest.mark.parametrize(
    ("setup", "reason"),
    {
        "a thread": ("threading.Thread(target=time.sleep, args=(600,), daemon=True).start()", "1 of its threads go on"),
        "a connection": ("self.kept = socket.create_server(('127.0.0.1', 0))", "it holds an open connection"),
        "a child": ("self.kept = subprocess.Popen(['sleep', '600'])", "it has started child processes"),
        "an event loop": ("self.kept = select.epoll()", "it holds something of the kernel's that forks would share (eventpoll)"),
        "shared memory": ("self.kept = mmap.mmap(-1, 4096)", "it holds memory, locks or semaphores that forks would share"),
        "a queue": ("self.kept = multiprocessing.get_context('fork').Lock()", "it holds memory, locks or semaphores"),
        "a directory": ("self.kept = tempfile.TemporaryDirectory()", "it keeps a temporary directory"),
        "a file": ("self.kept = tempfile.NamedTemporaryFile()", "it keeps a temporary file"),
    }.values(),
)
def test_a_set_up_that_forks_cannot_share_is_done_by_each_worker(project, setup, reason):
    made = project(
        f"""
        import mmap, multiprocessing, os, select, socket, subprocess, tempfile, threading, time

        class Predictor:
            def setup(self):
                {setup}
                self.setup_pid = os.getpid()

            def predict(self) -> bool:
                return self.setup_pid == os.getpid()
        """
    )
    with made.serve("--snapshot", "after-setup") as server:
        assert reason in "".join(server.lines)
        assert server.predict()["output"] is True


# After set-up


def test_set_up_is_done_once_and_its_output_is_told_once(project):
    made = project(
        """
        import os

        class Predictor:
            def setup(self):
                print("loading weights")
                self.weights = open("weights.txt")
                self.first = self.weights.readline()
                self.setup_pid = os.getpid()

            def predict(self) -> list:
                return [self.setup_pid, os.getpid(), self.first, self.weights.readline(), os.getcwd()]
        """
    )
    made.write("weights.txt", "one\ntwo\nthree\nfour\n")
    with made.serve("--workers", "2", "--queue", "9", "--snapshot", "after-setup") as server:
        assert server.health()["setup"]["logs"] == "loading weights\n"
        answers = [server.predict()["output"] for _ in range(4)]
        assert {answer[0] for answer in answers} == {template_of(server)}
        by_worker = {}
        for _setup, pid, first, line, directory in answers:
            assert (first, directory) == ("one\n", str(made.root))
            by_worker.setdefault(pid, []).append(line)
        for lines in by_worker.values():  # each reads on from where set-up was, whatever the other reads
            assert lines == ["two\n", "three\n", "four\n", ""][: len(lines)]


def test_a_set_up_that_fails_is_told_as_ever(project):
    made = project(
        "class Predictor:\n    def setup(self):\n        raise ValueError('no weights')\n    def predict(self) -> int:\n        return 1\n"
    )
    with made.serve("--snapshot", "after-setup", ready=False) as server:
        assert server.wait_for_health("SETUP_FAILED") == "SETUP_FAILED"
        assert "ValueError: no weights" in server.health()["setup"]["logs"]


def test_an_asynchronous_set_up_is_done_by_each_worker(project):
    made = project(
        "class Predictor:\n    async def setup(self):\n        self.x = 1\n    async def predict(self) -> int:\n        return self.x\n"
    )
    with made.serve("--snapshot", "after-setup") as server:
        assert "its set-up is asynchronous" in "".join(server.lines)
        assert server.predict()["output"] == 1


def test_an_asynchronous_model_with_a_plain_set_up_is_forked(project):
    made = project(
        """
        import asyncio, os
        class Predictor:
            def setup(self):
                self.setup_pid = os.getpid()
            async def predict(self) -> bool:
                await asyncio.sleep(0)
                return self.setup_pid == os.getppid()
        """
    )
    with made.serve("--snapshot", "after-setup") as server:
        assert server.predict()["output"] is True


def test_the_project_may_ask_for_it_in_its_config(project):
    config = "predict: predict.py:Predictor\nenvironment:\n  - DRIVETRAIN_SNAPSHOT=after_setup\n"
    made = project(SOURCE, config=config)
    with made.serve() as server:
        told = ask(server)
        assert told["setup"] == told["parent"] == template_of(server)


def test_a_snapshot_that_does_not_exist_is_refused(project):
    made = project(SOURCE, environ={"DRIVETRAIN_SNAPSHOT": "everything"})
    done = made.cli("serve", "--port", "0")
    assert (done.returncode, done.stderr) == (
        2,
        "error: DRIVETRAIN_SNAPSHOT is 'everything'\n hint: set it to one of auto, off, imports, after-setup\n",
    )


def test_a_stray_process_of_a_fork_is_found_and_ended(project, tmp_path):
    made = project(
        """
        import os, time

        class Predictor:
            def predict(self, note: str, crash: bool = False) -> int:
                reader, writer = os.pipe()
                if os.fork() == 0:  # a daemon: forks twice, leads a session of its own, never calls exec
                    os.setsid()
                    if os.fork() == 0:
                        os.write(writer, str(os.getpid()).encode())
                        os.close(writer)
                        time.sleep(600)
                    os._exit(0)
                os.close(writer)
                return int(os.read(reader, 20))

            def setup(self):
                pass
        """
    )
    with made.serve("--snapshot", "after-setup") as server:
        stray = server.predict(note="x")["output"]
        assert Path(f"/proc/{stray}").exists()
    until(lambda: not Path(f"/proc/{stray}").exists())


# Changed files


def test_a_changed_file_is_served_from_the_same_template(project):
    source = "import os\n\nclass Predictor:\n    def predict(self) -> list:\n        return ['old', os.getppid()]\n"
    made = project(source)
    learn(made)
    with made.serve("--snapshot", "imports", "--reload") as server:
        template = template_of(server)
        made.write("predict.py", source.replace("old", "new"))
        server.wait_for("Reloading")
        server.wait_for("Ready after")
        assert server.predict()["output"] == ["new", template]


@pytest.mark.parametrize("snapshot", ["imports", "after-setup"])
def test_a_change_that_matters_for_the_template_is_not_served_from_it(project, snapshot):
    source = "import os\nos.environ['PLACE'] = 'one'\n\nclass Predictor:\n    def predict(self) -> list:\n        return [os.environ['PLACE'], os.getppid()]\n"
    made = project(source)
    learn(made)
    with made.serve("--snapshot", snapshot, "--reload") as server:
        first = template_of(server)
        assert server.predict()["output"] == ["one", first]
        made.write("predict.py", source.replace("'one'", "'two'"))
        server.wait_for("Reloading")
        server.wait_for("Ready after")
        place, parent = server.predict()["output"]
        assert place == "two"
        assert parent != first


def test_a_changed_file_counts_when_a_worker_is_replaced_too(project):
    made = project(SOURCE)
    with made.serve("--snapshot", "after-setup") as server:
        before = ask(server)
        made.write("predict.py", SOURCE.replace('"pid": os.getpid()', '"new": True, "pid": os.getpid()'))
        crash(server)
        assert respawned(server, before["pid"])["new"]


# Memory, and other Pythons

WEIGHTS = """
import os
from pathlib import Path

MEGABYTES = 200


class Predictor:
    def setup(self):
        self.weights = bytearray(os.urandom(1024 * 1024)) * MEGABYTES

    def predict(self) -> int:
        return self.weights.count(b"\\0" * 8)
"""


def proportional_megabytes(processes):
    def of(process):
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
        return int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1])

    return sum(map(of, processes)) / 1024


def test_four_workers_take_little_more_memory_than_one(project):
    made = project(WEIGHTS)
    with made.serve() as server:
        server.predict()
        alone = proportional_megabytes(children_of(server.process.pid))
    with made.serve("--workers", "4", "--snapshot", "after-setup") as server:
        template = template_of(server)
        until(lambda: len(children_of(template)) == 4 and server.client.get("/metrics").status_code == 200)
        for _ in range(4):
            server.predict()
        together = proportional_megabytes([template, *children_of(template)])
    assert alone > 200
    assert together < 1.5 * alone


def pythons():
    """One of each version that the worker runs on and that is installed here."""
    found = {}
    for interpreter in installed_interpreters(read_settings(os.environ)):
        if interpreter.version >= (3, 8):
            found.setdefault(interpreter.version[:2], interpreter.path)
    return [pytest.param(path, id=".".join(map(str, version))) for version, path in sorted(found.items())]


@pytest.mark.slow
@pytest.mark.parametrize("python", pythons())
def test_every_python_can_be_forked(project, python, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(python)
    made = project(SOURCE, python=tmp_path / "bin" / "python")
    learn(made)
    for snapshot in ("imports", "after-setup"):
        with made.serve("--snapshot", snapshot) as server:
            told = ask(server)
            assert told["parent"] == template_of(server)
            crash(server)
            assert respawned(server, told["pid"])["parent"] == told["parent"]


# Libraries that compute in threads

NUMERIC = """
import os
import {library}

class Predictor:
    def setup(self):
        self.one = {make}
        self.one @ self.one  # in as many threads as the library likes, which stay

    def predict(self) -> list:
        draw = {draw}
        self.one @ self.one
        there = len(os.listdir("/proc/self/task"))
        return [os.getppid(), {threads}, draw]
"""

NUMERIC_LIBRARIES = {
    "numpy": {"library": "numpy", "make": "numpy.ones((800, 800))", "draw": "numpy.random.rand()", "threads": "there"},
    "torch": {
        "library": "torch",
        "make": "torch.ones(800, 800)",
        "draw": "torch.rand(1).item()",
        "threads": "min(there, torch.get_num_threads())",
    },  # numpy has started some as well
}


@pytest.fixture(scope="module", params=NUMERIC_LIBRARIES)
def numeric(request, tmp_path_factory):
    """A library that computes in threads of its own, and a Python that has it."""
    if request.param == "numpy":
        home = tmp_path_factory.mktemp("numpy") / "venv"
        subprocess.run([uv_binary(), "venv", "--quiet", "--python", sys.executable, home], check=True)
        python = home / "bin" / "python"
        subprocess.run([uv_binary(), "pip", "install", "--quiet", "--python", python, "numpy"], check=True)
    elif "PYTHON_WITH_TORCH" in os.environ:
        python = Path(os.environ["PYTHON_WITH_TORCH"])
    else:
        pytest.skip("PYTHON_WITH_TORCH names no Python that has torch, which is too large to be fetched for a test")
    return NUMERIC_LIBRARIES[request.param], python


@pytest.mark.slow
@pytest.mark.parametrize("snapshot", ["imports", "after-setup"])
def test_libraries_compute_in_as_many_threads_as_ever_and_draw_other_numbers(project, numeric, snapshot):
    words, python = numeric
    made = project(NUMERIC.format(**words), python=python)
    with made.serve() as server:
        _, threads, _ = server.predict()["output"]
    if snapshot == "imports":
        learn(made)
    with made.serve("--snapshot", snapshot) as server:
        parent, threads_of_fork, draw = server.predict()["output"]
        assert (parent, threads_of_fork) == (template_of(server), threads)
        os.kill(children_of(parent)[0], signal.SIGKILL)
        again = until(lambda: server.predict().get("output"))
        assert (again[0], again[1]) == (parent, threads)
        assert again[2] != draw
