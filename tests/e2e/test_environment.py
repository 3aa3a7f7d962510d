"""The environment that a project asks for, as a user meets it: made on the first run, found on the second, and what goes wrong."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from programs import Program

from drivetrain.environments.installed import installed_interpreters
from drivetrain.settings import read_settings

pytestmark = pytest.mark.slow

VERSION = """
    import platform

    class Predictor:
        def predict(self) -> str:
            return platform.python_version()
"""


def config(*requirements, python=None):
    build = [f'  python_version: "{python}"'] * (python is not None)
    packages = [f"    - {line!r}" for line in requirements]
    return "\n".join(
        ["build:", *build, *(["  python_packages:"] if packages else []), *packages, "predict: predict.py:Predictor\n"]
    )


@pytest.fixture
def made(project):
    """A project whose environment is made from nothing but what lies in it."""

    def made(*requirements, source=VERSION, offline=True, **options):
        python = options.pop("python", None)
        lines = (*(["--no-index"] if offline else []), *requirements)
        return project(source, config=config(*lines, python=python), **options)

    return made


def local_package(made, name, statements):
    """The source of a package whose build carries out the statements."""
    made.write(f"{name}/setup.py", statements)
    made.write(
        f"{name}/pyproject.toml",
        f"""
        [build-system]
        requires = []
        build-backend = "setup"
        backend-path = ["."]
        [project]
        name = "{name}"
        version = "1"
        """,
    )


def told(done):
    """What went to stderr, which must say each thing once and nothing of our insides."""
    lines = done.stderr.splitlines()
    assert len(lines) == len(set(lines)), done.stderr
    assert "Traceback" not in done.stderr
    assert "src/drivetrain" not in done.stderr
    return done.stderr


def test_the_second_run_finds_what_the_first_has_made(made):
    project = made()
    first, second = project.run(env="venv"), project.run(env="venv")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "Making an environment" in first.stderr
    assert (second.stderr, second.stdout) == ("", first.stdout)


def test_python_3_8_with_pydantic_1(made):
    installed = installed_interpreters(read_settings(os.environ))
    if not any(interpreter.version[:2] == (3, 8) for interpreter in installed):
        pytest.skip("Python 3.8 is not installed")
    source = """
        import sys, pydantic
        from cog import BaseModel, BasePredictor, Input

        class Output(BaseModel):
            versions: str

        class Predictor(BasePredictor):
            def predict(self, suffix: str = Input(default="!")) -> Output:
                return Output(versions=f"{sys.version_info[1]} {pydantic.VERSION[0]}{suffix}")
    """
    done = made("pydantic<2", source=source, offline=False, python="3.8").run(env="venv")
    assert '"8 1!"' in done.stdout, done.stderr


def test_exec_has_the_programs_of_the_environment(made):
    done = made(offline=False).cli("exec", "pip", "--version", env="venv")
    assert "venv-" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("requirement", "sentence"),
    [
        ("no-such-distribution", "there is no package 'no-such-distribution'"),
        ("./broken", "building 'broken' from source failed"),
        ("six @ git+https://${NOT_SET}@x.example/six.git", "not set: 'NOT_SET'"),
    ],
)
def test_what_cannot_be_had_is_one_error_with_a_hint(made, requirement, sentence):
    project = made(requirement)
    local_package(project, "broken", "def build_wheel(*_):\n    raise SystemExit('no compiler for frobnication')\n")
    done = project.run(env="venv")
    assert (done.returncode, done.stdout) == (1, "")
    assert sentence in told(done)
    assert (done.stderr.count("error: "), done.stderr.count(" hint: ")) == (1, 1)
    assert ("frobnication" in done.stderr) == (requirement == "./broken")


def test_conflicting_requirements_are_explained(made):
    done = made("requests==2.31.0", "urllib3==1.20", offline=False).run(env="venv")
    assert "requests==2.31.0 depends on urllib3>=1.21.1" in told(done)
    assert "error: cannot install the requirements: no versions of the packages satisfy them all" in done.stderr


def test_a_python_that_is_not_there(made):
    done = made(python="3.99").run(env="venv")
    assert done.returncode == 1
    assert "Python 3.99 is not installed and could not be fetched" in told(done)


def test_without_a_network(made, tmp_path):
    environ = {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_CACHE_DIR": str(tmp_path / "uv"), "UV_HTTP_RETRIES": "0"}
    done = made("six", offline=False, environ=environ).run(env="venv")
    assert done.returncode == 1
    assert "'127.0.0.1:9' cannot be reached (Connection refused)" in told(done)


WHEEL = """
    import os
    import zipfile

    def build_wheel(directory, *_):
        with zipfile.ZipFile(os.path.join(directory, "lib-1-py3-none-any.whl"), "w") as wheel:
            wheel.write("lib.py")
            wheel.writestr("lib-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: lib\\nVersion: 1\\n")
            wheel.writestr("lib-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
            wheel.writestr("lib-1.dist-info/RECORD", "")
        return "lib-1-py3-none-any.whl"
"""


@pytest.mark.parametrize("line", ["./lib", "lib @ ./lib"])
def test_a_package_of_the_project_is_built_anew_when_its_code_changes(made, line):
    project = made(line, source="import lib\nclass Predictor:\n    def predict(self) -> str:\n        return lib.VALUE\n")
    local_package(project, "lib", WHEEL)
    for value in ("one", "two"):
        project.write("lib/lib.py", f"VALUE = '{value}'\n")
        assert project.run(env="venv").stdout == f"{value}\n"


@pytest.fixture
def small_disk(tmp_path):
    directory = tmp_path / "disk"
    directory.mkdir()
    mounting = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", directory], capture_output=True, text=True)
    if mounting.returncode != 0:
        pytest.skip(f"mounting is not permitted here: {mounting.stderr.strip()}")
    yield directory
    subprocess.run(["umount", directory], check=True)


def test_on_a_full_disk(made, small_disk):
    project = made(offline=False, environ={"DRIVETRAIN_CACHE_DIR": str(small_disk)})
    done = project.run(env="venv")
    assert done.returncode == 1
    assert "the disk is full" in told(done)
    assert "hint: free some space, or set DRIVETRAIN_CACHE_DIR to another disk" in done.stderr


def test_with_a_cache_directory_that_cannot_be_made(made, tmp_path):
    (tmp_path / "file").touch()
    done = made(environ={"DRIVETRAIN_CACHE_DIR": str(tmp_path / "file" / "cache")}).run(env="venv")
    assert done.returncode == 1
    assert "hint: set DRIVETRAIN_CACHE_DIR to a directory that can be written to" in told(done)


@pytest.fixture
def held(made, tmp_path):
    """A project whose first run stands still in mid-build until something is written to the gate."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    project = made("./lib")
    local_package(project, "lib", f"def build_wheel(*_):\n    raise SystemExit('told: ' + open({str(gate)!r}).read())\n")
    return project, gate


def start(project):
    command = [str(Path(sys.executable).parent / "drivetrain"), "run"]
    return Program(command, cwd=project.root, env=project.environment(), stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_build_that_is_ended_leaves_nothing_that_the_next_run_would_use(held, tmp_path, number, status):
    project, gate = held
    with start(project) as process, gate.open("w"):  # opens when the build has got to where it reads
        process.send_signal(number)
        assert process.wait(timeout=30) == status
    assert not list((tmp_path / "cache").rglob("ready.json"))
    gate.unlink()  # what the kill has left of the first build may still read there
    os.mkfifo(gate)
    with start(project) as process:
        gate.write_text("built anew")
        assert "told: built anew" in process.stderr.read()


def test_two_runs_at_once_build_one_after_the_other_and_both_succeed(made, tmp_path):
    project = made()
    with start(project) as one, start(project) as other:
        said = [one.communicate(timeout=60)[1], other.communicate(timeout=60)[1]]
    assert (one.returncode, other.returncode) == (0, 0), said
    assert sum("Making an environment" in text for text in said) == 1
    assert len(list((tmp_path / "cache").rglob("venv-*"))) == 1
