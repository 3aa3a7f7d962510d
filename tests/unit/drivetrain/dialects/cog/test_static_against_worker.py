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
root, file, name, mode, *path = sys.argv[1:]
sys.path[:0] = path
from drivetrain_worker.loading import enter_project, find_entry_point, import_file
enter_project(root)
print(json.dumps(find_entry_point(import_file(root, file), name, mode=mode).description))
"""


def describe_imported(root, file, name, mode):
    command = [sys.executable, "-c", DESCRIBE, root, file, name, mode, SRC, SRC / "drivetrain_worker" / "authoring"]
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
