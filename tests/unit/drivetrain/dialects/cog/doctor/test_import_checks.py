"""Imports from cog, of all ages."""

import ast
from pathlib import Path

import pytest

from drivetrain.dialects.cog.doctor.import_checks import COMMON_NAMES, FADING_NAMES, KNOWN_MODULES, NEWER_NAMES
from drivetrain.dialects.cog.doctor.mending import mend
from drivetrain.model.finding import Severity

CHECK = "python-deprecated-imports"
AUTHORING = Path(__file__).parents[6] / "src" / "drivetrain_worker" / "authoring" / "cog"


def test_the_names_known_are_those_that_are_offered():
    tree = ast.parse((AUTHORING / "__init__.py").read_text())
    offered = next(
        ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"
    )
    assert COMMON_NAMES | NEWER_NAMES | FADING_NAMES.keys() == set(offered)
    modules = {path.stem for path in AUTHORING.iterdir() if not path.name.startswith("_")}
    assert modules == KNOWN_MODULES


@pytest.mark.parametrize(
    ("line", "severity"),
    [
        ("from cog import BasePredictor, Input, streaming", None),
        ("from cog import *", None),
        ("from cog import Predictor", Severity.ERROR),
        ("from cog import Imput", Severity.ERROR),
        ("import cog\n@cog.input('x', type=int)\ndef f(): ...", Severity.ERROR),
        ("import cog as c\nclass P(c.Predictor): ...", Severity.ERROR),
        ("import cog\nclass P(cog.BasePredictor): ...", None),
        ("from cog import emit_metric", Severity.NOTE),
        ("from cog import ExperimentalFeatureWarning", Severity.NOTE),
        ("from cog.types import Path", Severity.NOTE),
        ("from cog.types import PYDANTIC_V2", None),
        ("from cog.server.scope import current_scope", Severity.WARNING),
        ("from cog.server.exceptions import CancelationException", Severity.WARNING),
        ("from cog.files import upload_file", Severity.WARNING),
        ("def later():\n    from cog.base_predictor import BasePredictor", Severity.WARNING),
        ("from cogs import Predictor", None),
    ],
)
def test_each_import_is_judged(patient, line, severity):
    assert patient(f"{line}\n").verdicts()[CHECK].severity is severity


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from cog.types import Path as P, File  # é\n", "from cog import Path as P, File  # é\n"),
        (
            "é = 1; from cog.server.scope import (\n    current_scope, # now\n)\n",
            "é = 1; from cog import (\n    current_scope, # now\n)\n",
        ),
        ("if True:\r\n    from   cog.predictor import BasePredictor\r\n", "if True:\r\n    from   cog import BasePredictor\r\n"),
    ],
)
def test_an_import_is_moved_and_nothing_else(patient, before, after):
    made = patient()
    source = made.root / "predict.py"
    source.write_bytes(before.encode())
    mend(edit for diagnosis in made.found(CHECK) for edit in diagnosis.edits)
    assert source.read_bytes().decode() == after
    assert made.found(CHECK) == ()


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbffrom cog.types import Path\n",
        b"# coding: latin-1\nx = '\xe9'; from cog.types import Path\n",
        b"from \\\n  cog.types import Path\n",
    ],
)
def test_a_file_whose_columns_cannot_be_counted_is_left_alone(patient, content):
    made = patient()
    source = made.root / "predict.py"
    source.write_bytes(content)
    (diagnosis,) = made.found(CHECK)
    mend(diagnosis.edits)
    assert source.read_bytes() == content


def test_files_that_the_entry_point_imports_are_looked_at_and_no_others(patient):
    made = patient("import lib.inner\nfrom helper import x\ndef Predictor() -> int: ...\n")
    for name in ("lib/__init__.py", "lib/inner.py", "lib/other.py", "helper.py", "stray.py"):
        made.write(name, "from cog import emit_metric\n")
    made.write("lib/inner.py", "from . import sibling\nimport predict\nfrom cog import emit_metric\n")
    made.write("lib/sibling.py", "from cog import emit_metric\n")
    files = [file for file, _ in made.places(CHECK)]
    assert files == ["lib/__init__.py", "lib/inner.py", "helper.py", "lib/sibling.py"]


def test_a_cog_of_the_projects_own_is_another_one(patient):
    made = patient("from cog.base_predictor import Anything\nfrom cog import Whatever\n")
    made.write("cog/__init__.py", "Whatever = 1\n")
    assert made.found(CHECK) == ()
