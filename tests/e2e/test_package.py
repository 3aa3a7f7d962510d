"""What is shipped: the wheel and the source archive, built, looked into, and installed where nothing else is."""

import email.parser
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from drivetrain import __version__
from drivetrain.dialects.cog.scaffold import templates
from drivetrain.environments.interpreter import installed_interpreters
from drivetrain.environments.uv import uv_binary
from drivetrain.settings import read_settings

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
#: What must not reach an installed package: it would be found in place of the package.
LEFT_OUT = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


def call(*command, cwd, **variables):
    environ = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**environ, **variables}, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def build(kind, directory):
    call(uv_binary(), "build", kind, "--quiet", "--out-dir", directory, ROOT, cwd=directory)
    (built,) = directory.glob("drivetrain-*")
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build("--wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The command of an installation without anything that development needs."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    call(uv_binary(), "venv", "--quiet", "--python", sys.executable, home, cwd=home.parent)
    call(uv_binary(), "pip", "install", "--quiet", "--python", home / "bin" / "python", wheel, cwd=home.parent)
    return home / "bin" / "drivetrain"


def names_in(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_installs_our_two_packages_and_nothing_beside_them(wheel):
    top = {name.partition("/")[0] for name in names_in(wheel)}
    assert top == {"drivetrain", "drivetrain_worker", f"drivetrain-{__version__}.dist-info"}


def test_the_wheel_holds_all_that_the_sources_hold(wheel):
    sources = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and ".egg-info" not in str(path)
    }
    names = names_in(wheel)
    assert sources <= names
    assert {"drivetrain/py.typed", "drivetrain_worker/py.typed"} <= names
    for name in templates():
        assert f"drivetrain/dialects/cog/templates/{name}/cog.yaml" in names


def test_the_metadata_says_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        metadata = email.parser.Parser().parsestr(archive.read(f"drivetrain-{__version__}.dist-info/METADATA").decode())
        assert f"drivetrain-{__version__}.dist-info/licenses/LICENSE" in archive.namelist()
    assert (metadata["Name"], metadata["Version"], metadata["Requires-Python"]) == ("drivetrain", __version__, ">=3.10")
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Summary"]
    assert metadata.get_payload().startswith("# drivetrain")
    requirements = " ".join(metadata.get_all("Requires-Dist"))
    assert "pydantic" not in requirements
    assert "pytest" not in requirements


def test_the_source_archive_can_be_built_from_and_tested(tmp_path):
    with tarfile.open(build("--sdist", tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "CONTRIBUTING.md", "Makefile", "requirements.lock"} <= names
    assert {"scripts/bootstrap.sh", "tests/conftest.py", "docs/README.md", "examples/demo.py"} <= names
    assert not {name for name in names if "__pycache__" in name or name.startswith((".venv", ".tooling", "dist"))}


def test_an_installation_says_its_version_and_helps(installed, tmp_path):
    assert call(installed, "--version", cwd=tmp_path) == f"drivetrain {__version__}\n"
    assert "Commands:" in call(installed, "--help", cwd=tmp_path)


@pytest.mark.parametrize("template", templates())
def test_an_installation_writes_every_template(installed, tmp_path, template):
    call(installed, "init", "--template", template, cwd=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(templates()[template].files)


def test_an_installation_runs_a_project_outside_of_the_checkout(installed, tmp_path):
    call(installed, "init", cwd=tmp_path)
    path = os.pathsep.join([str(installed.parent), os.environ["PATH"]])
    assert call(installed, "run", "--env", "host", "-i", "text=World", cwd=tmp_path, PATH=path) == "Hello World\n"


def test_the_real_packages_of_the_dialects_are_not_hidden(installed, tmp_path):
    question = "import importlib.util as u; print([name for name in ('cog', 'fal', 'runpod') if u.find_spec(name)])"
    assert call(installed.parent / "python", "-c", question, cwd=tmp_path) == "[]\n"


@pytest.mark.parametrize("version", [(3, 10), (3, 13)], ids=lambda version: ".".join(map(str, version)))
def test_pip_installs_it_on_the_oldest_and_a_newer_python(wheel, tmp_path, version):
    found = next((one for one in installed_interpreters(read_settings(os.environ)) if one.version[:2] == version), None)
    if found is None:
        pytest.skip(f"there is no Python {version[0]}.{version[1]} on this machine")
    home = tmp_path / "venv"
    call(uv_binary(), "venv", "--quiet", "--seed", "--python", found.path, home, cwd=tmp_path)
    call(home / "bin" / "python", "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    assert call(home / "bin" / "drivetrain", "--version", cwd=tmp_path) == f"drivetrain {__version__}\n"
    call(home / "bin" / "drivetrain", "init", cwd=tmp_path)
    path = os.pathsep.join([str(home / "bin"), os.environ["PATH"]])
    assert call(home / "bin" / "drivetrain", "run", "--env", "host", "-i", "text=Pip", cwd=tmp_path, PATH=path) == "Hello Pip\n"
