"""Both ways of reading a signature, from the source and from the imported code, give the same for the projects in ``fixtures``."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from drivetrain.dialects.cog.static_reading import read_statically
from drivetrain.model.signature import Signature

FIXTURES = Path(__file__).parent / "fixtures"
SRC = Path(__file__).parents[5] / "src"

DESCRIBE = """
import json, sys
root, file, name, mode, takes_lists, *path = sys.argv[1:]
sys.path[:0] = path
from drivetrain_worker.loading import enter_project, find_entry_point, import_file
enter_project(root)
entry_point = find_entry_point(import_file(root, file), name, mode=mode, takes_lists=takes_lists == "True")
print(json.dumps(entry_point.description))
"""


def describe_imported(root, file, name, mode, *, takes_lists=False):
    path = [SRC, SRC / "drivetrain_worker" / "authoring"]
    command = [sys.executable, "-c", DESCRIBE, root, file, name, mode, str(takes_lists), *path]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=60).stdout)


@pytest.mark.parametrize(
    ("project", "file", "name", "mode"),
    [
        ("inputs", "predict.py", "Predictor", "predict"),
        ("inputs", "train.py", "train", "train"),
        ("text_stream", "predict.py", "Predictor", "predict"),
        ("nested_output", "predict.py", "predict", "predict"),
        pytest.param(
            *("modern", "predict.py", "Runner", "predict"),
            marks=pytest.mark.skipif(sys.version_info < (3, 11), reason="NotRequired came with Python 3.11"),
        ),
        ("indirect", "predict.py", "Predictor", "predict"),
        ("postponed", "predict.py", "Predictor", "predict"),
    ],
)
def test_the_source_says_what_the_imported_code_says(project, file, name, mode):
    reading = read_statically(FIXTURES / project, file, name, mode)
    imported = Signature.from_wire(describe_imported(FIXTURES / project, file, name, mode))
    assert reading.signature == imported
    assert reading.complete


@pytest.mark.parametrize("name", ["Lists", "Method", "function"])
def test_so_it_does_where_predictions_are_run_together(name):
    place = (FIXTURES / "together", "predict.py", name, "predict")
    reading = read_statically(*place, takes_lists=True)
    assert reading.signature == Signature.from_wire(describe_imported(*place, takes_lists=True))
    assert reading.complete
