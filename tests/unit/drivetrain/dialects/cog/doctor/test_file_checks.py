"""Files that would travel with the project."""

import os

from drivetrain.dialects.cog.doctor.reading import LARGE_BYTES
from drivetrain.model.finding import Severity

CHECK = "project-large-files"


def lay(made, *names):
    for name in names:
        path = made.write(name, "")
        os.truncate(path, LARGE_BYTES)


def test_large_files_are_noted_together(patient):
    made = patient()
    lay(made, *(f"weights/{number}.bin" for number in range(7)))
    (diagnosis,) = made.found(CHECK)
    assert (diagnosis.severity, "and 2 more (0.7 GB)" in diagnosis.problem) == (Severity.NOTE, True)


def test_what_is_ignored_or_never_shipped_or_small_does_not_count(patient):
    made = patient()
    lay(made, "weights/a.bin", ".git/pack", "venv/lib.so")
    made.write("small.bin", "")
    made.write(".dockerignore", "# weights are fetched\nweights\n")
    assert made.found(CHECK) == ()


def test_a_link_weighs_nothing(patient, tmp_path_factory):
    made = patient()
    target = tmp_path_factory.mktemp("elsewhere") / "model.bin"
    target.touch()
    os.truncate(target, LARGE_BYTES)
    (made.root / "model.bin").symlink_to(target)
    assert made.found(CHECK) == ()
