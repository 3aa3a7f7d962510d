"""The layers of the model's packages, with a uv that only notes how it was called."""

from pathlib import Path

import pytest

from drivetrain.images.descriptor import platform_of
from drivetrain.images.interpreter import BasePython
from drivetrain.images.layer_maker import DirectOptions, LayerMaker
from drivetrain.images.model_layers import ModelLayers
from drivetrain.images.plan import Wishes, make_plan
from drivetrain.images.store import ImageStore
from drivetrain.model.project import EnvironmentSpec, Project
from drivetrain.settings import read_settings

UV = '#!/bin/sh\necho "$@" >>{directory}/calls\ncat >/dev/null\n'


class Untold:
    """Progress that nobody is told of."""

    def step(self, text):
        """Nothing."""

    def detail(self, line):
        """Nothing."""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A directory with a uv that notes its arguments in ``calls``, and a strip that does nothing."""
    directory = tmp_path / "programs"
    directory.mkdir()
    for name, text in (("uv", UV.format(directory=directory)), ("strip", "#!/bin/sh\n")):
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    return directory


@pytest.mark.parametrize("strips", [True, False])
def test_what_is_changed_afterwards_is_a_copy_of_what_uv_keeps(tmp_path, programs, strips):
    spec = EnvironmentSpec(root=tmp_path, python_version="3.11", requirements=("numpy",))
    project = Project(root=tmp_path, dialect="cog", config_file=tmp_path / "cog.yaml", environment=spec)
    python = BasePython(path="/usr/bin/python3.11", version="3.11")
    maker = LayerMaker(ImageStore(tmp_path / "store"), DirectOptions(strips=strips))
    settings = read_settings({"HOME": str(tmp_path), "DRIVETRAIN_UV": str(programs / "uv"), "PATH": "/usr/bin:/bin"})
    ModelLayers(make_plan(project, platform_of("amd64"), Wishes()), (python, python), maker, settings, Untold()).world()
    calls = Path(programs / "calls").read_text().splitlines()
    assert len(calls) == 2  # for the requirements, and for what came along with Cog
    assert ["--link-mode copy" in call for call in calls] == [strips, strips]
