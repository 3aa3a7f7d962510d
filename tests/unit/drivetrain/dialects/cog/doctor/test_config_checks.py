"""Is the config file right? And what happens to its keys that are out of date."""

import pytest

from drivetrain.dialects.cog.doctor.mending import mend
from drivetrain.model.finding import Severity

DEPRECATED = "config-deprecated-fields"


def mended(patient, check):
    """The config after the edits that a check proposes."""
    mend(edit for diagnosis in patient.found(check) for edit in diagnosis.edits)
    return (patient.root / "cog.yaml").read_bytes().decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("build:\n  fast: true # quick\n  gpu: true # yes\nrun: predict.py:P\n", "build:\n  gpu: true # yes\nrun: predict.py:P\n"),
        ("run: predict.py:P\ntests:\n  - a:\n      - b\n\n# end\n", "run: predict.py:P\n\n# end\n"),
        ("run: predict.py:P\ntests: [a,\n  b]\nimage: me\n", "run: predict.py:P\nimage: me\n"),
        ("run: predict.py:P\nexamples: |\n  long\n  text\nimage: me\n", "run: predict.py:P\nimage: me\n"),
        ("run: predict.py:P\r\ntests: []\r\nimage: é\r\n", "run: predict.py:P\r\nimage: é\r\n"),
        ("\ufeff# é\ntests:\nrun: predict.py:P", "\ufeff# é\nrun: predict.py:P"),
        ("build:\n  pre_install: # é\n    - make\nrun: predict.py:P\n", "build:\n  run: # é\n    - make\nrun: predict.py:P\n"),
    ],
)
def test_what_is_out_of_date_goes_and_everything_else_stays(patient, before, after):
    made = patient()
    (made.root / "cog.yaml").write_bytes(before.encode())
    assert mended(made, DEPRECATED) == after
    assert not [diagnosis for diagnosis in made.found(DEPRECATED) if diagnosis.edits]


@pytest.mark.parametrize(
    "config",
    [
        "build: {fast: true, gpu: true}\n",  # not on a line of its own
        "build:\n  run: [one]\n  pre_install: [two]\n",  # the name is taken
        "tests: &anchor\n  - run\nbuild:\n  run: *anchor\n",  # the value is used elsewhere
    ],
)
def test_what_cannot_be_mended_safely_is_told_alone(patient, config):
    made = patient(config=config)
    assert made.found(DEPRECATED)
    assert mended(made, DEPRECATED) == config


def test_older_forms_that_work_are_noted(patient):
    (diagnosis,) = patient(config="build:\n  python_packages: [numpy]\nrun: predict.py:P\n").found(DEPRECATED)
    assert (diagnosis.severity, diagnosis.line) == (Severity.NOTE, 2)


def test_an_entry_point_that_is_not_there_is_an_error(patient):
    made = patient(config="predict: predict.py:Predicto\ntrain: train.py:train\n")
    assert [diagnosis.code for diagnosis in made.found("config-predict-ref")] == ["entry-point-missing", "python-file-missing"]


def test_a_project_without_entry_point_is_warned_of(patient):
    (diagnosis,) = patient(config="build: {}\n").found("config-predict-ref")
    assert diagnosis.severity is Severity.WARNING


def test_what_only_the_loaded_code_can_tell_is_noted(patient):
    made = patient("import os\nclass Predictor:\n    def predict(self, n: int = os.cpu_count()) -> int: ...\n")
    (diagnosis,) = made.found("config-predict-ref")
    assert diagnosis.severity is Severity.NOTE
    assert "os.cpu_count()" in diagnosis.problem


def test_code_for_a_newer_python_is_noted_and_examined_no_further(patient):
    made = patient("match match:\n    case case case: pass\n", 'build: {python_version: "3.99"}\npredict: predict.py:Predictor\n')
    assert [diagnosis.severity for diagnosis in made.found("config-predict-ref")] == [Severity.NOTE]


def test_the_older_name_for_the_same_thing_is_noted(patient):
    assert patient().places("predict-to-run-migration") == [("cog.yaml", 1)]
    assert patient(config="run: predict.py:Predictor\n").found("predict-to-run-migration") == ()
