"""A project on disk and a host in the mind, and what a check finds in them."""

import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from drivetrain.dialects.cog.doctor.case import Gpus, Host
from drivetrain.dialects.cog.doctor.reading import read_case, read_config_file
from drivetrain.dialects.cog.doctor.registry import examine

#: A machine that has what anybody asks for.
GOOD_HOST = Host(
    system="Linux",
    python="3.12.1",
    installed_pythons=("3.11", "3.12"),
    can_fetch_python=False,
    system_packages=None,
    gpus=Gpus(count=1, driver=(580, 65, 6)),
    torch_builds="cpu",
    environment_is_made=False,
    cache_directory=Path("/cache"),
    cache_problem=None,
    free_bytes=100_000_000_000,
    has_root_at_src=False,
)

CONFIG = "predict: predict.py:Predictor\n"


class Patient:
    """A project to be examined."""

    def __init__(self, root):
        self.root = root

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def verdicts(self, **facts):
        """Every verdict by the name of its check; facts are about the host."""
        config = read_config_file(self.root / "cog.yaml")
        project = config.reading.project
        case = read_case(project, config, replace(GOOD_HOST, **facts)) if project is not None else None
        return {verdict.name: verdict for verdict in examine(config, case)}

    def found(self, check, **facts):
        """What one check finds."""
        return self.verdicts(**facts)[check].diagnoses

    def places(self, check, **facts):
        """Where it finds something."""
        return [(diagnosis.file, diagnosis.line) for diagnosis in self.found(check, **facts)]


@pytest.fixture
def patient(tmp_path, monkeypatch):
    """Make a project from the source of its predictor."""
    monkeypatch.chdir(tmp_path)

    def make(source="class Predictor:\n    def predict(self) -> str: ...\n", config=CONFIG):
        made = Patient(tmp_path)
        made.write("cog.yaml", config)
        made.write("predict.py", source)
        return made

    return make
