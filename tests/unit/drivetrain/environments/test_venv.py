"""Environments that are really made."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from drivetrain.environments.installed import installed_interpreters
from drivetrain.environments.venv import find_ready, prepare
from drivetrain.model.errors import OutsideFailed, ProjectError

pytestmark = pytest.mark.slow


def ask(environment, code):
    """What a program prints in an environment."""
    command = [environment.python, "-c", code]
    return subprocess.run(command, env=dict(environment.variables), capture_output=True, text=True, check=True).stdout.strip()


def test_it_is_made_once_and_found_again(bench):
    bench.wheel("alpha")
    spec = bench.spec("alpha")
    assert find_ready(spec, bench.settings) is None
    made = prepare(spec, bench.settings, progress=bench.told)
    assert ask(made, "import alpha; print(alpha.version)") == "1.0"
    assert ask(made, "import platform; print(platform.python_version())") == made.python_version
    told = len(bench.told.steps)
    assert find_ready(spec, bench.settings) == made == prepare(spec, bench.settings, progress=bench.told)
    assert len(bench.told.steps) == told


def test_forms_of_requirements(bench):
    (bench.root / "wheels").mkdir()
    bench.wheel("alpha", "1.0")
    bench.wheel("alpha", "2.0")
    bench.wheel("beta", requires=["gamma"])
    bench.wheel("gamma", directory=bench.root / "wheels")
    bench.wheel("delta", directory=bench.root)
    (bench.root / "limits.txt").write_text("alpha<2\n")
    made = bench.prepare(
        "alpha", "beta", "--find-links wheels", "-c limits.txt", "./delta-1.0-py3-none-any.whl", "gone; python_version < '3'"
    )
    code = "import alpha, beta, gamma, delta; print(alpha.version, gamma.version)"
    assert ask(made, code) == "1.0 1.0"


def test_pre_releases_are_taken_where_the_requirements_say_so(bench):
    bench.wheel("alpha", "1.0")
    bench.wheel("alpha", "2.0rc1")
    code = "import alpha; print(alpha.version)"
    assert ask(bench.prepare("alpha"), code) == "1.0"
    assert ask(bench.prepare("--pre", "alpha"), code) == "2.0rc1"


def test_an_editable_package_shows_changes_without_a_new_build(bench):
    package = bench.root / "lib"
    package.mkdir()
    (package / "lib.py").write_text("x = 1")
    (package / "pyproject.toml").write_text('[project]\nname = "lib"\nversion = "1"\n')
    made = bench.prepare("-e ./lib", local=False)
    (package / "lib.py").write_text("x = 22")
    assert ask(made, "import lib; print(lib.x)") == "22"


def test_paths_with_spaces_and_other_letters(bench, tmp_path):
    bench.directory = tmp_path / "größe und mehr"
    bench.root.mkdir(parents=True)
    bench.wheel("alpha", directory=bench.root)
    made = prepare(bench.spec("./alpha-1.0-py3-none-any.whl", local=False), bench.settings, progress=bench.told)
    assert ask(made, "import alpha; print(alpha.version)") == "1.0"
    assert subprocess.run([made.directory / "bin" / "pip", "--version"], capture_output=True, check=True).stdout


def test_what_cog_brought_is_there_and_leaves_the_projects_versions_alone(bench):
    made = bench.prepare("typing_extensions==4.8.0", "setuptools==75.1.0", local=False)
    # setuptools first: on Debian's Python it cannot be imported after pip, whose import turns its distutils off
    code = "import setuptools, requests, pydantic, yaml, pip; from importlib.metadata import version as v; print(v('typing_extensions'), v('setuptools'))"
    assert ask(made, code) == "4.8.0 75.1.0"
    assert "typing_extensions" not in bench.told.steps[-1]


def test_what_cog_brought_is_left_out_where_the_project_takes_packages_from_nowhere_else(bench):
    bench.prepare()
    assert bench.told.steps[-1].startswith("Left out")
    assert bench.told.steps[-1].endswith("structlog, typing_extensions, uvicorn")


def test_a_package_that_needs_pkg_resources_finds_it_before_python_3_12(bench):
    made = bench.prepare(local=False, python_version="3.11")
    assert ask(
        made, "import warnings; warnings.simplefilter('ignore'); from pkg_resources import packaging; print(packaging.__name__)"
    )


def test_an_old_python_with_an_old_pydantic(bench):
    if not any(interpreter.version[:2] == (3, 8) for interpreter in installed_interpreters(bench.settings)):
        pytest.skip("Python 3.8 is not installed")
    made = bench.prepare("pydantic<2", local=False, python_version="3.8")
    assert made.python_version.startswith("3.8.")
    assert ask(made, "import pydantic, fastapi; print(pydantic.VERSION[0])") == "1"


def test_where_the_index_of_pytorch_cannot_be_reached_the_default_one_is_used(bench):
    bench.wheel("torch", "2.4.99")
    empty = bench.directory / "index"
    empty.mkdir()
    bench.environ = {"HTTPS_PROXY": "http://127.0.0.1:9", "UV_DEFAULT_INDEX": empty.as_uri(), "UV_FIND_LINKS": str(bench.directory)}
    made = bench.prepare("torch==2.4.99", local=False)
    assert ask(made, "import torch; print(torch.version)") == "2.4.99"
    assert any("PyTorch's own index cannot be reached" in step for step in bench.told.steps)
    with pytest.raises(OutsideFailed, match="cannot be reached"):  # no other index has builds for a certain CUDA
        bench.prepare("torch==2.4.99+cu118", local=False)


def test_variables_of_the_project_are_set_while_packages_are_built(bench):
    bench.source("lib", "import os; raise SystemExit('colour ' + os.environ['COLOUR'])")
    with pytest.raises(ProjectError) as caught:
        bench.prepare("./lib", variables={"COLOUR": "red"})
    assert "colour red" in caught.value.detail


def test_the_directory_of_the_project_is_not_written_to(bench):
    bench.wheel("alpha", directory=bench.root)
    before = sorted(bench.root.rglob("*"))
    bench.prepare("./alpha-1.0-py3-none-any.whl")
    assert sorted(bench.root.rglob("*")) == before


@pytest.mark.parametrize(
    ("requirements", "message"),
    [
        (["gone"], "there is no package 'gone'"),
        (["alpha==9"], "there is no version 'alpha==9'"),
        (["alpha==1", "alpha==2"], "no versions of the packages satisfy them all"),
        (["alpha @ git+https://${NOT_SET}@x.example/a.git"], "variables that are not set: 'NOT_SET'"),
        (["./lib"], "from source failed"),
        (["alpha @ git+file:///nonexistent/repository.git"], "git could not fetch"),
    ],
)
def test_what_cannot_be_had_is_the_projects_error_and_leaves_nothing(bench, requirements, message):
    bench.wheel("alpha", "1")
    bench.wheel("alpha", "2")
    bench.source("lib", "raise SystemExit('broken')")
    with pytest.raises((ProjectError, OutsideFailed)) as caught:
        bench.prepare(*requirements)
    assert message in caught.value.message
    assert find_ready(bench.spec(*requirements), bench.settings) is None
    assert not list(bench.settings.cache_directory.rglob("venv-*"))


def test_an_index_that_cannot_be_reached(bench):
    bench.environ = {
        "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
        "UV_HTTP_RETRIES": "0",
        "UV_CACHE_DIR": str(bench.directory / "uv"),
    }
    with pytest.raises(OutsideFailed, match=r"'127\.0\.0\.1:9' cannot be reached \(Connection refused\)"):
        bench.prepare("alpha", local=False)


def test_a_cache_directory_that_is_a_file(bench):
    bench.environ = {"DRIVETRAIN_CACHE_DIR": __file__}
    with pytest.raises(OutsideFailed, match="Not a directory") as caught:
        bench.prepare()
    assert "DRIVETRAIN_CACHE_DIR" in caught.value.hint


def _prepare_in_child(bench, spec, queue):
    environment = prepare(spec, bench.settings, progress=bench.told)
    queue.put((environment.directory, bench.told.steps))


def test_two_at_once_make_one(bench):
    gate = bench.directory / "gate"
    os.mkfifo(gate)
    bench.source("lib", f"import backend_wheel; open({str(gate)!r}).read(); return backend_wheel.write(directory)")
    _add_wheel_writer(bench.root / "lib")
    spec = bench.spec("./lib")
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    children = [context.Process(target=_prepare_in_child, args=(bench, spec, queue)) for _ in range(2)]
    for child in children:
        child.start()
    gate.write_text("go")
    results = [queue.get(timeout=120) for _ in children]
    for child in children:
        child.join()
    assert results[0][0] == results[1][0]
    assert sorted(any("Making" in step for step in steps) for _, steps in results) == [False, True]


def test_after_a_kill_in_mid_build_the_next_run_builds_anew(bench):
    gate = bench.directory / "gate"
    os.mkfifo(gate)
    bench.source("lib", f"import backend_wheel; open({str(gate)!r}).read(); return backend_wheel.write(directory)")
    _add_wheel_writer(bench.root / "lib")
    spec = bench.spec("./lib")
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=_prepare_in_child, args=(bench, spec, queue))
    child.start()
    with gate.open("w"):  # opens when the build has got to where it reads
        child.kill()
        child.join()
    assert child.exitcode == -signal.SIGKILL
    assert find_ready(spec, bench.settings) is None
    gate.unlink()  # what the kill has left of the first build may still read there
    os.mkfifo(gate)
    opener = subprocess.Popen([sys.executable, "-c", f"open({str(gate)!r}, 'w').close()"])
    made = prepare(spec, bench.settings, progress=bench.told)
    assert ask(made, "import lib; print(lib.version)") == "1"
    opener.kill()
    opener.wait()


def _add_wheel_writer(directory):
    """Lets a source build itself without any other package."""
    (directory / "backend_wheel.py").write_text(
        textwrap.dedent(
            """
            import os, zipfile

            def write(directory):
                name = "lib-1-py3-none-any.whl"
                with zipfile.ZipFile(os.path.join(directory, name), "w") as archive:
                    archive.writestr("lib.py", "version = '1'")
                    archive.writestr("lib-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: lib\\nVersion: 1\\n")
                    archive.writestr("lib-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
                    archive.writestr("lib-1.dist-info/RECORD", "")
                return name
            """
        )
    )


def test_one_whose_interpreter_has_vanished_is_made_again(bench):
    made = bench.prepare()
    (made.directory / "bin" / "python").unlink()
    again = bench.prepare()
    assert again.directory != made.directory
    assert not made.directory.exists()
    assert ask(again, "print(1)") == "1"
