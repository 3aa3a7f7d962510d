"""Templates are whole projects, and writing one never harms what is there."""

import ast
import sys

import pytest

from drivetrain.dialects.cog.discovery import load_project
from drivetrain.dialects.cog.scaffold import templates, write_template

ALL = list(templates().values())


def test_the_default_template_comes_first():
    assert next(iter(templates())) == "default"


@pytest.mark.parametrize("template", ALL, ids=lambda template: template.name)
def test_every_template_is_a_project_without_findings(template, tmp_path):
    write_template(template, tmp_path)
    loaded = load_project(tmp_path, None)
    assert loaded.warnings == ()
    assert loaded.project.environment.python_version == f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.mark.parametrize("template", ALL, ids=lambda template: template.name)
def test_every_entry_point_is_in_the_file_that_it_names(template, tmp_path):
    write_template(template, tmp_path)
    project = load_project(tmp_path, None).project
    for reference in filter(None, (project.predict, project.train)):
        module = ast.parse((tmp_path / reference.file).read_text())
        assert reference.name in [getattr(node, "name", None) for node in module.body]


def test_only_the_train_template_trains():
    assert [template.name for template in ALL if "train.py" in template.files] == ["train"]


def test_files_that_exist_are_left_alone(tmp_path):
    (tmp_path / "predict.py").write_text("mine")
    written = write_template(templates()["default"], tmp_path)
    assert (tmp_path / "predict.py").read_text() == "mine"
    assert written.skipped == (tmp_path / "predict.py",)
    assert set(written.created) == {tmp_path / "cog.yaml", tmp_path / "requirements.txt"}


def test_a_directory_is_made_where_there_is_none(tmp_path):
    written = write_template(templates()["default"], tmp_path / "new" / "model")
    assert not written.skipped
    assert all(path.is_file() for path in written.created)
