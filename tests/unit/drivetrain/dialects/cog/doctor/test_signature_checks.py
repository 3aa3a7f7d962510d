"""What entry points say that they take and give."""

import pytest

from drivetrain.dialects.cog.doctor.mending import mend
from drivetrain.dialects.cog.static_reading import read_statically

ANNOTATIONS, OPTIONAL, OUTPUTS, DEFAULTS = (
    "python-missing-type-annotations",
    "python-optional-inputs",
    "python-output-types",
    "python-mutable-defaults",
)


def predictor(parameters="", returns="str", body="...", imports="from cog import BasePredictor, Input, Path, Secret"):
    return f"{imports}\nclass Predictor(BasePredictor):\n    def predict(self{parameters}) -> {returns}:\n        {body}\n"


def test_what_has_no_annotation_is_told_for_predictor_and_training_alike(patient):
    made = patient("class Predictor:\n    def predict(self, a,\n                b: int, *rest, c=1, **others): ...\n")
    made.write("cog.yaml", "predict: predict.py:Predictor\ntrain: train.py:train\n")
    made.write("train.py", "def train(data) -> str: ...\n")
    assert made.places(ANNOTATIONS) == [("predict.py", 2), ("predict.py", 3), ("predict.py", 2), ("train.py", 1)]


def test_an_inherited_method_is_told_where_it_is(patient):
    made = patient("from base import Base\nclass Predictor(Base): ...\n")
    made.write("base.py", "class Base:\n    def predict(self, a) -> str: ...\n")
    assert made.places(ANNOTATIONS) == [("base.py", 2)]


@pytest.mark.parametrize(
    ("parameter", "count"),
    [
        ("n: int = Input(default=None)", 1),
        ("n: 'int' = Input(None, ge=0)", 1),
        ("n: Path = Input(description='x', default=None)", 1),
        ("n: int | None = Input(default=None)", 0),
        ("n: 'Optional[int]' = Input(default=None)", 0),
        ("n: Secret = Input(default=None)", 0),
        ("n = Input(default=None)", 0),
        ("n: int = Input(default=1)", 0),
        ("n: int = Input()", 0),
    ],
)
def test_a_default_of_none_wants_an_optional_type(patient, parameter, count):
    made = patient(
        predictor(f", {parameter}", imports="from typing import Optional\nfrom cog import BasePredictor, Input, Path, Secret")
    )
    assert len(made.found(OPTIONAL)) == count


TWO = ", a: int = Input(default=None), b: 'Path' = Input(None)"
TWO_MENDED = "a: Optional[int] = Input(default=None), b: Optional['Path'] = Input(None)"


@pytest.mark.parametrize(
    ("imports", "mended"),
    [
        ("from cog import *", "from typing import Optional\nfrom cog import *"),
        ('"""Doc."""\nfrom __future__ import annotations\nfrom cog import *', None),
        (
            "from typing import (\n    List as L,\n)\nfrom cog import *",
            "from typing import (\n    List as L, Optional,\n)\nfrom cog import *",
        ),
        ("from typing import Any, Optional\nfrom cog import *", "from typing import Any, Optional\nfrom cog import *"),
        ("from typing import *\nfrom cog import *", "from typing import *\nfrom cog import *"),
    ],
)
def test_types_are_made_optional_and_the_signature_stays_the_same(patient, imports, mended):
    made = patient(predictor(TWO, imports=imports))
    before = read_statically(made.root, "predict.py", "Predictor", "predict")
    mend(edit for diagnosis in made.found(OPTIONAL) for edit in diagnosis.edits)
    text = (made.root / "predict.py").read_text()
    assert TWO_MENDED in text
    assert mended is None or text.startswith(f"{mended}\n")
    assert made.found(OPTIONAL) == ()
    assert read_statically(made.root, "predict.py", "Predictor", "predict") == before


def test_a_name_that_is_taken_is_not_taken_again(patient):
    (diagnosis,) = patient(predictor(", a: int = Input(default=None)", imports="from cog import *\nOptional = list")).found(
        OPTIONAL
    )
    assert diagnosis.edits == ()


@pytest.mark.parametrize(
    ("returns", "count"),
    [
        ("bytes", 1),
        ("'Iterator[Image.Image]'", 1),
        ("list[PIL.Image.Image]", 1),
        ("pd.DataFrame", 1),
        ("Path", 0),
        ("dict[str, list[int]]", 0),
        ("Any", 0),
        ("np.ndarray", 0),
        ("'not even Python'", 0),
    ],
)
def test_results_without_a_json_form_are_told(patient, returns, count):
    imports = (
        "import PIL.Image\nimport numpy as np\nimport pandas as pd\nfrom PIL import Image\nfrom cog import *\nfrom typing import *"
    )
    assert len(patient(predictor(returns=returns, imports=imports)).found(OUTPUTS)) == count


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("items.append(1)", 1),
        ("items[0] = 1", 1),
        ("items = [*items, 1]; items.append(1)", 0),
        ("others.append(items)", 0),
        ("return items[0]", 0),
    ],
)
@pytest.mark.parametrize("default", ["[]", "Input(default=[])", "Input([])"])
def test_a_default_that_is_changed_is_told(patient, default, body, count):
    assert len(patient(predictor(f", items: list = {default}", body=body)).found(DEFAULTS)) == count


def test_a_default_that_cannot_be_changed_is_fine(patient):
    assert patient(predictor(", items: tuple = ()", body="items.append(1)")).found(DEFAULTS) == ()
