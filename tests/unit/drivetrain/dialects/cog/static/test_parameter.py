import ast

import pytest

from drivetrain.dialects.cog.static.annotation import AnnotationReader
from drivetrain.dialects.cog.static.parameter import read_parameters
from drivetrain.dialects.cog.static.scope import Scope
from drivetrain.dialects.cog.static.source import SourceTree
from drivetrain.model.signature import ANY, INTEGER, STRING, Field, OptionalOf

MODULE = """
from typing import Annotated
import cog
from cog import Input
COMMON = dict(ge=1, le=5)
SHARED = Input(default=3)
class Inputs:
    text = Input(description="text")
    @staticmethod
    def sized(default, *, top=9): return Input(default=default, le=top)
    @classmethod
    def of_class(cls, default): return Input(default)
def nested(): return Inputs.sized(4)
"""


@pytest.fixture
def field(tmp_path):
    (tmp_path / "module.py").write_text(MODULE)
    tree = SourceTree(tmp_path)
    scope = Scope(tree, tree.parse("module.py"))

    def read(parameter):
        function = ast.parse(f"def predict({parameter}): ...").body[0]
        (only,) = read_parameters(function, scope, AnnotationReader(), bound=False)
        return only

    return read


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ("x", Field(name="x", type=ANY, required=True)),
        ("x: int", Field(name="x", type=INTEGER, required=True)),
        ("x: int = 5", Field(name="x", type=INTEGER, required=False, default=5)),
        ("*, x: int = 5", Field(name="x", type=INTEGER, required=False, default=5)),
        ("x: int = None", Field(name="x", type=OptionalOf(INTEGER), required=False)),
        ("x: int = Input()", Field(name="x", type=INTEGER, required=True)),
        ("x: int = Input(...)", Field(name="x", type=INTEGER, required=True)),
        ("x: int = Input(default=None)", Field(name="x", type=OptionalOf(INTEGER), required=False)),
        ("x: int | None", Field(name="x", type=OptionalOf(INTEGER), required=False)),
        ("x: int | None = Input(ge=1)", Field(name="x", type=OptionalOf(INTEGER), required=False, ge=1)),
        ("x: int = cog.Input(5, deprecated=True)", Field(name="x", type=INTEGER, required=False, default=5, deprecated=True)),
        ("x: int = Input(**COMMON)", Field(name="x", type=INTEGER, required=True, ge=1, le=5)),
        ("x: int = SHARED", Field(name="x", type=INTEGER, required=False, default=3)),
        ("x: str = Inputs.text", Field(name="x", type=STRING, required=True, description="text")),
        ("x: int = Inputs.sized(2)", Field(name="x", type=INTEGER, required=False, default=2, le=9)),
        ("x: int = Inputs.sized(default=2, top=3)", Field(name="x", type=INTEGER, required=False, default=2, le=3)),
        ("x: int = Inputs.of_class(7)", Field(name="x", type=INTEGER, required=False, default=7)),
        ("x: int = nested()", Field(name="x", type=INTEGER, required=False, default=4, le=9)),
        ("x: Annotated[int, Input(ge=1)]", Field(name="x", type=INTEGER, required=True, ge=1)),
        ("x: Annotated[int, Input(ge=1)] = 5", Field(name="x", type=INTEGER, required=False, default=5, ge=1)),
        ("x: str = Input(choices=('a', 'b'))", Field(name="x", type=STRING, required=True, choices=("a", "b"))),
        ("x: str = Input(description='a' f'{1 + 1}')", Field(name="x", type=STRING, required=True, description="a2")),
        ("x: int = float('inf')", Field(name="x", type=INTEGER, required=False)),
        ("x: int = Input(default=b'bytes')", Field(name="x", type=INTEGER, required=False)),
        (
            "x: str = Input(min_length=1, max_length=None, regex='a')",
            Field(name="x", type=STRING, required=True, min_length=1, regex="a"),
        ),
    ],
)
def test_parameters_are_fields(field, parameter, expected):
    assert field(parameter) == expected


@pytest.mark.parametrize(
    ("parameters", "bound", "names"),
    [
        ("self, a, b=1", True, ["a", "b"]),
        ("self, /, a", True, ["a"]),
        ("a, b", False, ["a", "b"]),
        ("a=1, /, b=2, *rest, c, **more", False, ["b", "c"]),
    ],
)
def test_inputs_are_given_by_name(tmp_path, parameters, bound, names):
    (tmp_path / "module.py").touch()
    tree = SourceTree(tmp_path)
    function = ast.parse(f"def predict({parameters}): ...").body[0]
    fields = read_parameters(function, Scope(tree, tree.parse("module.py")), AnnotationReader(), bound=bound)
    assert [field.name for field in fields] == names
