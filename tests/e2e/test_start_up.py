"""What is imported when: start-up time is kept by what is not there yet.

The budgets are in modules, which every machine counts alike. What they take in milliseconds, ``benchmarks/start_up.py`` measures.
"""

import json
import subprocess
import sys

import pytest

PROBE = """
import json, os, sys

def report(event, _arguments):
    if event == "subprocess.Popen":  # the worker is about to be started
        sys.stdout.write(json.dumps(sorted(sys.modules)))
        sys.stdout.flush()
        os._exit(0)

if sys.argv[1] == "early":
    sys.addaudithook(report)
from drivetrain.cli.main import run
sys.exit(run(json.loads(sys.argv[2])))
"""

READY = """
import json, sys
from drivetrain.cli import serving

class Audience(serving.TerminalAudience):
    def settled(self, supervisor):
        print(json.dumps(sorted(sys.modules)), flush=True)
        return False

serving.TerminalAudience = Audience
from drivetrain.cli.main import run
sys.exit(run(json.loads(sys.argv[1])))
"""

#: What drives a worker, draws progress, or speaks HTTP has no business before the worker is under way.
HEAVY = {"anyio", "asyncio", "httpx", "logging", "multipart", "prometheus_client", "rich", "ssl", "uvicorn", "uvloop", "watchfiles"}

#: What reads command lines, configs and code has none where the words are plain and the config is known.
READERS = {
    "click",
    "drivetrain.dialects.cog.config",
    "drivetrain.dialects.cog.static_reading",
    "drivetrain.cli.command_line",
    "yaml",
}

SOURCE = "class Predictor:\n    def predict(self, text: str = 'x') -> str:\n        return text\n"

SERVE = ("serve", "--env", "host", "--port", "0")


def probe(made, *arguments):
    command = [sys.executable, "-c", *arguments]
    done = subprocess.run(command, cwd=made.root, env=made.environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[0]))


def modules_before_the_worker(made, *arguments):
    return probe(made, PROBE, "early", json.dumps(arguments))


def test_run_starts_the_worker_before_it_imports_what_drives_it(project):
    modules = modules_before_the_worker(project(SOURCE), "run", "--env", "host", "-i", "text=a")
    assert not HEAVY & modules
    assert len(modules) < 250


def test_serve_starts_the_worker_before_it_imports_the_server(project):
    made = project(SOURCE)
    assert not HEAVY & modules_before_the_worker(made, *SERVE)


def test_serve_starts_a_worker_again_before_it_imports_anything_of_weight(project):
    """As it was started the last time; reading the project then needs no reader."""
    made = project(SOURCE)
    assert modules_before_the_worker(made, *SERVE) & READERS
    with made.serve():
        pass
    modules = modules_before_the_worker(made, *SERVE)
    assert not (HEAVY | READERS | {"inspect", "msgspec", "pathlib", "typing"}) & modules
    assert len(modules) < 95


def test_a_server_is_ready_without_what_it_may_never_need(project):
    made = project(SOURCE)
    unneeded = (HEAVY - {"asyncio", "logging", "ssl", "uvloop"}) | {
        "drivetrain.serving.template_project",
        "drivetrain.serving.tracing",
        "email",
        "http",
        "mimetypes",
        "shutil",
        "tempfile",
        "urllib.request",
    }
    probe(made, READY, json.dumps(SERVE))
    modules = probe(made, READY, json.dumps(SERVE))
    assert (unneeded | READERS) & modules == set()
    assert len(modules) < 276


def test_help_imports_no_command():
    code = "import sys; from drivetrain.cli.main import run; run(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(done.stderr.split())
    assert not (HEAVY | {"yaml", "drivetrain.cli.run", "drivetrain.cli.serve"}) & modules
    assert len(modules) < 160


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_worker_imports_next_to_nothing_before_the_project(project, kind):
    source = f"""
        import sys
        BEFORE = sorted(sys.modules)

        class Predictor:
            {kind} predict(self) -> list:
                return BEFORE
    """
    before = set(json.loads(project(source).run("--json").stdout)["output"])
    assert not before & {
        "asyncio",
        "dataclasses",
        "http",
        "logging",
        "pydantic",
        "socket",
        "ssl",
        "subprocess",
        "threading",
        "urllib",
    }
    assert len(before) < 116  # a few more on newer Pythons


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("choice", ["enable", "disable"])
def test_the_collector_is_the_authors(project, kind, choice):
    source = f"""
        import gc
        BEFORE = gc.isenabled()
        gc.{choice}()

        class Predictor:
            {kind} predict(self) -> list:
                return [BEFORE, gc.isenabled()]
    """
    assert json.loads(project(source).run("--json").stdout)["output"] == [True, choice == "enable"]
