import sys

import pytest

from drivetrain.dialects.cog.static_reading import read_statically
from drivetrain.model.errors import ProjectError
from drivetrain.model.signature import ANY, INTEGER, PATH, STRING, Field, IteratorOf, OptionalOf

PREDICTOR = """
from cog import BasePredictor, Input, Path
class Predictor(BasePredictor):
    def setup(self): ...
    def predict(self, text: str, n: int = Input(default=2, ge=1)) -> str: ...
"""


@pytest.fixture
def read(tmp_path):
    """Read ``predict.py`` (or a file of another name) among other files."""

    def read(source, name="Predictor", mode="predict", *, file="predict.py", python_version=None, **others):
        for module, text in others.items():
            path = tmp_path / f"{module.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(source)
        return read_statically(tmp_path, file, name, mode, python_version=python_version)

    return read


@pytest.fixture
def refused(read):
    """The only finding of the error that reading raises."""

    def refused(*arguments, **options):
        with pytest.raises(ProjectError) as caught:
            read(*arguments, **options)
        (finding,) = caught.value.findings
        return finding

    return refused


def test_a_class_is_read(read):
    reading = read(PREDICTOR)
    assert reading.signature.inputs == (
        Field(name="text", type=STRING, required=True),
        Field(name="n", type=INTEGER, required=False, default=2, ge=1),
    )
    assert (reading.complete, reading.has_setup, reading.signature.output) == (True, True, STRING)


def test_a_function_is_read(read):
    reading = read("from cog import Path\ndef train(data: Path) -> Path: ...", "train", "train")
    assert [(field.name, field.type) for field in reading.signature.inputs] == [("data", PATH)]
    assert not reading.has_setup


def test_a_class_may_train(read):
    reading = read("class Trainer:\n    def setup(self): ...\n    def train(self, n: int) -> str: ...", "Trainer", "train")
    assert [field.name for field in reading.signature.inputs] == ["n"]
    assert reading.has_setup


def test_an_entry_point_may_be_in_a_directory_and_still_imports_from_the_root(read):
    source = "from shared.names import SIZE\nclass Predictor:\n    def predict(self, n: int = SIZE) -> str: ..."
    reading = read(source, file="sub/predict.py", shared__names="SIZE = 7")
    assert reading.signature.inputs[0].default == 7


def test_methods_and_setup_are_inherited_across_files(read):
    base = "class Base:\n    def setup(self): ...\n    def run(self, n: int) -> str: ..."
    reading = read("from base import Base\nclass Predictor(Base): pass", base=base)
    assert reading.has_setup
    assert [field.name for field in reading.signature.inputs] == ["n"]


def test_the_nearest_of_inherited_methods_counts(read):
    source = """
class A:
    def predict(self, a: int) -> str: ...
class B(A):
    def predict(self, b: int) -> str: ...
class C(A): ...
class Predictor(C, B): ...
"""
    assert [field.name for field in read(source).signature.inputs] == ["b"]


def test_an_entry_point_may_be_imported_from_another_file(read):
    assert read("from real import Predictor", real=PREDICTOR).complete


def test_static_methods_have_no_self(read):
    reading = read("class Predictor:\n    @staticmethod\n    def predict(n: int) -> str: ...")
    assert [field.name for field in reading.signature.inputs] == ["n"]


def test_a_method_may_be_assigned(read):
    reading = read("def work(self, n: int) -> str: ...\nclass Predictor:\n    predict = work")
    assert [field.name for field in reading.signature.inputs] == ["n"]


def test_how_it_runs_is_read(read):
    source = """
import cog
class Predictor:
    @cog.streaming()
    @cog.concurrent(max=2 * 4)
    async def predict(self, **more): yield 1
"""
    signature = read(source).signature
    assert (signature.is_async, signature.streaming, signature.concurrency, signature.accepts_extra) == (True, True, 8, True)
    assert signature.output == IteratorOf(ANY)


def test_a_generator_inside_does_not_make_the_function_one(read):
    source = "class Predictor:\n    def predict(self) -> str:\n        def inner(): yield 1\n        return 'a'"
    assert not read(source).signature.streams


@pytest.mark.parametrize(
    "source",
    [
        "from torch import Thing as Predictor",
        "Predictor = make()",
        "from elsewhere import *",
        "from torch.nn import Module\nclass Predictor(Module): ...",
        "from elsewhere import Base\nclass Predictor(Base):\n    def run(self, graph: list): ...",
        "class Predictor:\n    predict = partial(f)",
        "class Predictor(make_base()): ...",
    ],
)
def test_what_only_running_can_tell_takes_inputs_of_any_name(read, source):
    reading = read(source)
    assert (reading.complete, reading.signature.accepts_extra, reading.signature.inputs) == (False, True, ())
    assert reading.notes


@pytest.mark.parametrize(
    "parameter",
    ["x: torch.Tensor", "x: int = compute()", "x: int = Input(ge=limit())", "x: int = Input(**options())", "x: Unheard"],
)
def test_what_cannot_be_told_is_noted_and_the_name_stays(read, parameter):
    reading = read(f"import torch\nfrom cog import Input\nclass Predictor:\n    def predict(self, {parameter}) -> str: ...")
    assert [field.name for field in reading.signature.inputs] == ["x"]
    assert not reading.complete
    assert "input 'x'" in reading.notes[0]


def test_a_default_that_cannot_be_told_is_still_a_default(read):
    reading = read("class Predictor:\n    def predict(self, x: int = compute()) -> str: ...")
    assert reading.signature.inputs == (Field(name="x", type=INTEGER, required=False),)


def test_a_decorator_that_hides_the_parameters_is_noted(read):
    source = "def deco(f):\n    def inner(*a): return f(*a)\n    return inner\nclass Predictor:\n    @deco\n    def predict(self, n: int) -> str: ..."
    reading = read(source)
    assert [field.name for field in reading.signature.inputs] == ["n"]
    assert "@deco" in reading.notes[0]


@pytest.mark.parametrize(
    "decorator",
    [
        "import functools\ndef deco(f):\n    @functools.wraps(f)\n    def inner(*a): return f(*a)\n    return inner",
        "def deco(f): return f",
    ],
)
def test_a_decorator_that_shows_the_parameters_is_not(read, decorator):
    assert read(f"{decorator}\nclass Predictor:\n    @deco\n    def predict(self, n: int) -> str: ...").complete


def test_code_is_never_run(read, tmp_path):
    read(f"open({str(tmp_path / 'ran')!r}, 'w')\n{PREDICTOR}")
    assert not (tmp_path / "ran").exists()


def test_a_syntax_error_is_shown_where_it_is(refused):
    finding = refused("import os\ndef predict(:\n    pass")
    assert (finding.code, finding.place) == ("python-syntax", "predict.py:2")


def test_null_bytes_are_no_python(refused):
    assert refused("\0").code == "python-syntax"


def test_a_project_for_a_newer_python_than_ours_may_be_written_in_it(read, refused):
    newer = f"{sys.version_info[0]}.{sys.version_info[1] + 1}"
    assert not read("strange new syntax", python_version=newer).complete
    assert refused("strange new syntax", python_version=f"{sys.version_info[0]}.{sys.version_info[1]}.3").code == "python-syntax"


def test_a_missing_file_is_named_with_the_nearest_that_is_there(tmp_path):
    (tmp_path / "predict.py").touch()
    with pytest.raises(ProjectError, match=r"'predcit\.py' is not there") as caught:
        read_statically(tmp_path, "predcit.py", "Predictor", "predict")
    assert caught.value.hint == "did you mean 'predict.py'?"


def test_a_directory_is_no_source_file(tmp_path):
    (tmp_path / "predict.py").mkdir()
    with pytest.raises(ProjectError, match="cannot be read"):
        read_statically(tmp_path, "predict.py", "Predictor", "predict")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("Predcitor", "did you mean 'Predictor'?"), ("Qqqq", "its classes and functions are 'Predictor'")],
)
def test_a_missing_entry_point_is_named_with_what_is_there(refused, name, remedy):
    finding = refused(PREDICTOR, name)
    assert (finding.code, finding.remedy) == ("entry-point-missing", remedy)


def test_a_method_called_run_counts_where_every_base_is_known(read):
    reading = read("from cog import BaseRunner\nclass Predictor(BaseRunner):\n    def run(self, n: int) -> str: ...")
    assert [field.name for field in reading.signature.inputs] == ["n"]


def test_a_builtin_is_no_entry_point(refused):
    assert refused("", "print").remedy == "it has no classes and functions"


def test_a_class_without_its_method_is_named_with_its_methods(refused):
    finding = refused("class Predictor:\n    def predcit(self): ...")
    assert (finding.code, finding.place) == ("method-missing", "predict.py:1")
    assert "'predict' or 'run'" in finding.problem
    assert finding.remedy == "did you mean 'predcit'?"


def test_a_class_without_train_cannot_train(refused):
    assert "no 'train' method" in refused(PREDICTOR, mode="train").problem


def test_predict_counts_where_a_class_also_has_a_method_called_run(read):
    source = "class Base:\n    def predict(self, text: str): ...\nclass Predictor(Base):\n    def run(self, command: list): ..."
    assert [field.name for field in read(source).signature.inputs] == ["text"]


@pytest.mark.parametrize(
    "source",
    [
        "from predict import Predictor",
        "Predictor = Predictor",
        "A = B\nB = A\nclass Predictor(A): ...",
        "from base import Predictor\nclass Predictor(Predictor): ...",
    ],
)
def test_names_that_go_in_circles_are_not_followed_for_ever(read, source):
    assert not read(source, base="from predict import Predictor").complete


def test_modules_may_import_each_other(read):
    reading = read(
        "from base import Base\nSIZE = 3\nclass Predictor(Base): ...",
        base=f"from predict import SIZE\n{PREDICTOR}\nBase = Predictor",
    )
    assert reading.complete


def test_optional_types_are_not_required(read):
    source = "from typing import Optional\nclass Predictor:\n    def predict(self, x: Optional[int], y: str = None) -> str: ..."
    assert read(source).signature.inputs == (
        Field(name="x", type=OptionalOf(INTEGER), required=False),
        Field(name="y", type=OptionalOf(STRING), required=False),
    )
