"""What is imported when: start-up time is kept by what is not there yet."""

import json
import subprocess
import sys

PROBE = """
import json, os, sys

def report(event, _arguments):
    if event == "subprocess.Popen":  # the worker is about to be started
        sys.stdout.write(json.dumps(sorted(sys.modules)))
        sys.stdout.flush()
        os._exit(0)

sys.addaudithook(report)
from drivetrain.cli.main import run
sys.exit(run(json.loads(sys.argv[1])))
"""

#: What drives a worker, draws progress, or speaks HTTP has no business before the worker is under way.
HEAVY = {"anyio", "asyncio", "httpx", "msgspec", "multipart", "prometheus_client", "rich", "ssl", "uvicorn", "uvloop", "watchfiles"}

SOURCE = "class Predictor:\n    def predict(self, text: str = 'x') -> str:\n        return text\n"


def modules_before_the_worker(project, *arguments):
    made = project(SOURCE)
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(arguments)], cwd=made.root, env=made.environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_run_starts_the_worker_before_it_imports_what_drives_it(project):
    assert not HEAVY & modules_before_the_worker(project, "run", "--env", "host", "-i", "text=a")


def test_serve_starts_the_worker_before_it_imports_the_server(project):
    assert not HEAVY & modules_before_the_worker(project, "serve", "--env", "host", "--port", "0")


def test_the_server_imports_nothing_that_it_may_never_need():
    probe = "import sys, drivetrain.cli.serving; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert not (HEAVY - {"asyncio", "msgspec", "ssl"} | {"drivetrain.serving.tracing", "email"}) & set(done.stdout.split())


def test_help_imports_no_command():
    probe = "import sys; from drivetrain.cli.main import run; run(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert "'drivetrain.cli.run'" not in done.stderr
    assert "'yaml'" not in done.stderr


def test_a_worker_imports_next_to_nothing_before_the_project(project):
    source = """
        import sys
        BEFORE = sorted(sys.modules)

        class Predictor:
            def predict(self) -> list:
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
    assert len(before) < 110
