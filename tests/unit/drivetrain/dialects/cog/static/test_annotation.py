import ast

import pytest

from drivetrain.dialects.cog.static.annotation import AnnotationReader
from drivetrain.dialects.cog.static.scope import Scope
from drivetrain.dialects.cog.static.source import SourceTree
from drivetrain.model.signature import (
    ANY,
    FILE,
    INTEGER,
    NULL,
    NUMBER,
    OBJECT,
    PATH,
    SECRET,
    STRING,
    DictOf,
    EnumOf,
    Field,
    IteratorOf,
    ListOf,
    ModelOf,
    OptionalOf,
    UnionOf,
)

MODULE = """
import collections.abc, dataclasses, datetime, io, os, pathlib, typing, typing as t
import cog, pydantic, numpy
from cog import *
from enum import Enum, StrEnum, auto
from typing import *
Text = str
Words = List[Text]
Id = NewType("Id", int)
Json = Union[str, List["Json"]]
T = TypeVar("T", int, str)
B = TypeVar("B", bound=Path)
class Colour(Enum):
    RED = "r"
    BLACK = (0, 0)
    ALSO_RED = "r"
class Size(StrEnum):
    SMALL = auto()
class Loud(Colour): pass
class Plain: pass
class Folder(pathlib.Path): pass
class Odd(numpy.ndarray): pass
@dataclasses.dataclass
class Base:
    a: int
    _b: str = "b"
    c: typing.ClassVar[int] = 1
@dataclasses.dataclass(frozen=True)
class Derived(Base):
    d: list[int] = dataclasses.field(default_factory=list)
    e: int = dataclasses.field(default=5, init=False)
    a: str = None
class Model(pydantic.BaseModel):
    x: int = pydantic.Field(3, description="X")
    y: Optional[str]
    z: str = pydantic.Field(..., alias="zed")
    _private: int = 0
    thing: Colour = Colour.RED
    when: str = compute()
class Tree(cog.BaseModel):
    children: "list[Tree]"
class Names(pydantic.RootModel[List[str]]): pass
class Old(pydantic.BaseModel):
    __root__: Dict[str, int]
class Half(TypedDict, total=False):
    a: int
    b: Required[int]
class Whole(Half):
    c: int
    d: NotRequired[str]
"""

HALF = (Field(name="a", type=INTEGER, required=False), Field(name="b", type=INTEGER, required=True))


@pytest.fixture
def scope(tmp_path):
    (tmp_path / "module.py").write_text(MODULE)
    tree = SourceTree(tmp_path)
    return Scope(tree, tree.parse("module.py"))


def parse(text):
    return ast.parse(text, mode="eval").body


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("str", STRING),
        ("None", NULL),
        ("object", ANY),
        ("typing.Any", ANY),
        ("t.Optional[float]", OptionalOf(NUMBER)),
        ("int | None", OptionalOf(INTEGER)),
        ("None | int | str", OptionalOf(UnionOf((INTEGER, STRING)))),
        ("Optional[Union[int, Optional[str]]]", OptionalOf(UnionOf((INTEGER, STRING)))),
        ("Union[int, int]", INTEGER),
        ("Union[int, Any, None]", ANY),
        ("Union[None]", NULL),
        ("'Optional[\"int\"]'", OptionalOf(INTEGER)),
        ("cog.Path", PATH),
        ("cog.types.Path", PATH),
        ("pathlib.Path", PATH),
        ("os.PathLike", PATH),
        ("Folder", PATH),
        ("File", FILE),
        ("io.IOBase", FILE),
        ("typing.BinaryIO", FILE),
        ("Secret", SECRET),
        ("list", ListOf(ANY)),
        ("List[Path]", ListOf(PATH)),
        ("collections.abc.Sequence[int]", ListOf(INTEGER)),
        ("set[str]", ListOf(STRING)),
        ("tuple", ListOf(ANY)),
        ("Tuple[int, ...]", ListOf(INTEGER)),
        ("tuple[int, str]", ListOf(UnionOf((INTEGER, STRING)))),
        ("dict", OBJECT),
        ("Dict[str, int]", DictOf(INTEGER)),
        ("Literal['a', 1, None]", OptionalOf(EnumOf("", ("a", 1)))),
        ("Literal[Colour.RED]", EnumOf("", ("r",))),
        ("Annotated[int, 'note']", INTEGER),
        ("Annotated[numpy.ndarray, Opaque]", OBJECT),
        ("Final[int]", INTEGER),
        ("Text", STRING),
        ("Words", ListOf(STRING)),
        ("Id", INTEGER),
        ("T", UnionOf((INTEGER, STRING))),
        ("B", PATH),
        ("Colour", EnumOf("Colour", ("r", "BLACK"))),
        ("Size", EnumOf("Size", ("small",))),
        ("Plain", ANY),
        ("Names", ListOf(STRING)),
        ("Old", DictOf(INTEGER)),
        ("Half", ModelOf("Half", HALF)),
        (
            "Whole",
            ModelOf("Whole", (*HALF, Field(name="c", type=INTEGER, required=True), Field(name="d", type=STRING, required=False))),
        ),
        (
            "Derived",
            ModelOf(
                "Derived",
                (
                    Field(name="a", type=OptionalOf(STRING), required=False),
                    Field(name="_b", type=STRING, required=False, default="b"),
                    Field(name="d", type=ListOf(INTEGER), required=False),
                ),
            ),
        ),
        (
            "Model",
            ModelOf(
                "Model",
                (
                    Field(name="x", type=INTEGER, required=False, default=3, description="X"),
                    Field(name="y", type=OptionalOf(STRING), required=False),
                    Field(name="zed", type=STRING, required=True),
                    Field(name="thing", type=EnumOf("Colour", ("r", "BLACK")), required=False, default="r"),
                    Field(name="when", type=STRING, required=False),
                ),
            ),
        ),
        ("Tree", ModelOf("Tree", (Field(name="children", type=ListOf(OBJECT), required=True),))),
    ],
)
def test_annotations_are_types(scope, text, type_):
    reader = AnnotationReader()
    assert reader.read(parse(text), scope, place="input 'x'") == type_
    assert reader.complete


@pytest.mark.parametrize(
    "text",
    [
        "numpy.ndarray",
        "datetime.datetime",
        "Unheard",
        "Odd",
        "make()",
        "'not python'",
        "Literal[Unheard.X]",
        "List[numpy.ndarray]",
        "1",
    ],
)
def test_what_cannot_be_told_is_any_with_a_note(scope, text):
    reader = AnnotationReader()
    assert reader.read(parse(text), scope, place="input 'x'") in (ANY, ListOf(ANY))
    assert not reader.complete
    assert "input 'x'" in reader.notes[0]


def test_a_type_that_holds_itself_is_any_inside(scope):
    reader = AnnotationReader()
    assert reader.read(parse("Json"), scope, place="input 'x'") == UnionOf((STRING, ListOf(ANY)))
    assert not reader.complete


def test_no_annotation_is_any(scope):
    reader = AnnotationReader()
    assert reader.read(None, scope, place="input 'x'") == ANY
    assert reader.complete


@pytest.mark.parametrize(
    ("text", "yields", "type_"),
    [
        ("Iterator[str]", False, IteratorOf(STRING)),
        ("'t.Iterator[str]'", True, IteratorOf(STRING)),
        ("typing.AsyncGenerator[Path, None]", True, IteratorOf(PATH)),
        ("ConcatenateIterator[str]", True, IteratorOf(STRING, concatenate=True)),
        ("AsyncConcatenateIterator", True, IteratorOf(ANY, concatenate=True)),
        ("Iterable[str]", True, IteratorOf(STRING)),
        ("Iterable[str]", False, ListOf(STRING)),
        ("str", True, IteratorOf(STRING)),
        ("Words", True, IteratorOf(STRING)),
    ],
)
def test_outputs_may_come_one_by_one(scope, text, yields, type_):
    assert AnnotationReader().read_output(parse(text), scope, yields=yields) == type_


@pytest.mark.parametrize(("yields", "type_"), [(True, IteratorOf(ANY)), (False, ANY)])
def test_an_output_without_annotation_is_any(scope, yields, type_):
    assert AnnotationReader().read_output(None, scope, yields=yields) == type_
