"""What is kept of a project's imports, and when it no longer holds."""

import os
import stat
import sys
from pathlib import Path

import pytest

from drivetrain.environments.environment import Environment
from drivetrain.environments.template import ImportRecord, TemplateNotes
from drivetrain.model.project import EnvironmentSpec, Mode, Project, Reference

RECORD = ImportRecord(
    digest="d",
    journal=[["import", "numpy", "/lib/numpy/__init__.py"], ["set", "HF_HOME", "/x"]],
    changes={"HF_HOME": "/x"},
    paths=("/lib",),
)


@pytest.fixture
def notes(tmp_path):
    def make(**options):
        root = tmp_path / "project"
        project = Project(
            root=root,
            dialect="cog",
            config_file=root / "cog.yaml",
            environment=EnvironmentSpec(root=root),
            predict=Reference(file="predict.py", name="Predictor"),
            train=Reference(file="train.py", name="train"),
        )
        environment = Environment(python=Path(sys.executable), directory=None, variables={})
        return TemplateNotes(tmp_path / "imports", project, options.pop("mode", Mode.PREDICT), environment, **options)

    return make


def test_a_record_is_read_as_it_was_written(notes):
    assert notes().read() is None
    notes().write(RECORD)
    assert notes().read() == RECORD


def test_records_of_other_entry_points_purposes_and_names_are_others(notes):
    notes().write(RECORD)
    assert [notes(mode=Mode.TRAIN).read(), notes(purpose="after-setup").read(), notes(name="copy").read()] == [None, None, None]


def test_what_a_project_sets_may_be_secret(notes, tmp_path):
    notes().write(RECORD)
    (file,) = (tmp_path / "imports").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"digest": 1, "nonsense": 2, "paths": []}', "\x00"])
def test_a_file_that_is_no_record_is_none(notes, tmp_path, content):
    notes().write(RECORD)
    (file,) = (tmp_path / "imports").iterdir()
    file.write_text(content)
    assert notes().read() is None


def test_a_directory_that_cannot_be_written_to_is_done_without(notes, tmp_path):
    (tmp_path / "imports").write_text("a file")
    notes().write(RECORD)
    assert notes().read() is None


def test_it_is_seen_that_another_has_written(notes):
    mine = notes()
    mine.write(RECORD)
    assert mine.is_unchanged()
    notes().write(RECORD)
    assert not mine.is_unchanged()


def test_a_package_that_is_added_changes_the_digest(notes, tmp_path):
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    before = notes().digest("sources", [str(libraries)])
    assert notes().digest("sources", [str(libraries)]) == before
    (libraries / "new").mkdir()
    os.utime(libraries, ns=(1, 1))
    assert notes().digest("sources", [str(libraries)]) != before


def test_records_that_nobody_reads_are_removed(notes, tmp_path):
    notes(name="old").write(RECORD)
    (file,) = (tmp_path / "imports").iterdir()
    os.utime(file, (0, 0))
    notes().write(RECORD)
    assert notes(name="old").read() is None


def test_a_record_is_extended_by_what_it_does_not_have():
    new = ["import", "torch", "/lib/torch/__init__.py"]
    assert RECORD.extended([["import", "numpy", None], ["set", "A", "b"]]) is None
    assert RECORD.extended([new]).journal == [*RECORD.journal, new]
