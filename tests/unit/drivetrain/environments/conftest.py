"""Environments are really made here, from packages made on the fly; the package index is left alone."""

import os
import shutil
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drivetrain.environments.venv import prepare
from drivetrain.model.project import EnvironmentSpec
from drivetrain.settings import read_settings


@dataclass
class Told:
    """A progress that remembers."""

    steps: list = field(default_factory=list)
    details: list = field(default_factory=list)

    def step(self, text):
        self.steps.append(text)

    def detail(self, line):
        self.details.append(line)


@dataclass
class Workbench:
    """A project's directory, packages beside it, and a cache of its own."""

    directory: Path
    told: Told = field(default_factory=Told)
    environ: dict = field(default_factory=dict)

    @property
    def root(self):
        return self.directory / "project"

    @property
    def settings(self):
        kept = {name: os.environ[name] for name in ("HOME", "SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ}
        path = os.pathsep.join([str(Path(shutil.which("python3")).parent), "/usr/bin", "/bin"])
        return read_settings({**kept, "PATH": path, "DRIVETRAIN_CACHE_DIR": str(self.directory / "cache"), **self.environ})

    def spec(self, *requirements, local=True, **options):
        """Take packages from the directory alone, unless told otherwise."""
        sources = ("--no-index", f"--find-links {self.directory}") if local else ()
        return EnvironmentSpec(root=self.root, requirements=(*sources, *requirements), **options)

    def prepare(self, *requirements, **options):
        return prepare(self.spec(*requirements, **options), self.settings, progress=self.told)

    def wheel(self, name, version="1.0", requires=(), directory=None):
        """A package with one module that says its version."""
        path = (directory or self.directory) / f"{name}-{version}-py3-none-any.whl"
        info = f"{name}-{version}.dist-info"
        needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{name}.py", f"version = {version!r}\n")
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        return path

    def source(self, name, backend):
        """The source of a package that is built by the statements ``backend``, in a process of their own."""
        directory = self.root / name
        directory.mkdir()
        project = f'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n[project]\nname = "{name}"\nversion = "1"\n'
        (directory / "pyproject.toml").write_text(project)
        (directory / "backend.py").write_text(f"def build_wheel(directory, *rest):\n    {backend}\n")
        return directory


@pytest.fixture
def bench(tmp_path):
    made = Workbench(tmp_path)
    made.root.mkdir()
    return made
