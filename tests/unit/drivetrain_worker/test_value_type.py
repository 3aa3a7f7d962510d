"""What type annotations mean on the wire."""

import io
import pathlib
import typing
from collections import deque
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import (
    Any,
    Dict,
    FrozenSet,
    Iterable,
    List,
    Literal,
    Mapping,
    NewType,
    Optional,
    Sequence,
    Set,
    Tuple,
    TypedDict,
    TypeVar,
    Union,
)

import pytest
from cog import BaseModel, ConcatenateIterator, File, Path, Secret
from cog.coder import Coder

from drivetrain_worker.conversion import Files
from drivetrain_worker.structure import MISSING
from drivetrain_worker.value_type import TypeReader, json_default


class Style(str, Enum):
    PHOTO = "photo"
    DRAWING = "drawing"


class Level(IntEnum):
    LOW = 1


class Shape(Enum):
    ROUND = object()


class Pair(TypedDict):
    left: int
    right: Optional[Path]


@dataclass
class Tree:
    name: str
    children: "List[Tree]"


class Answer(BaseModel):
    text: str
    file: Optional[Path] = None


def wire(annotation, **names):
    return TypeReader(names).read(annotation, place="input 'x'").wire


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (str, "string"),
        (int, "integer"),
        (float, "number"),
        (bool, "boolean"),
        (None, "null"),
        (Any, "any"),
        (object, "any"),
        (dict, "object"),
        (Dict, "object"),
        (Path, "path"),
        (pathlib.Path, "path"),
        (File, "file"),
        (typing.BinaryIO, "file"),
        (io.BytesIO, "file"),
        (Secret, "secret"),
    ],
)
def test_simple_types(annotation, kind):
    assert wire(annotation) == {"kind": kind}


@pytest.mark.parametrize(
    "annotation", [List[str], Sequence[str], Iterable[str], Set[str], FrozenSet[str], Tuple[str, ...], typing.Deque[str]]
)
def test_collections_are_lists(annotation):
    assert wire(annotation) == {"kind": "list", "items": {"kind": "string"}}


@pytest.mark.parametrize("annotation", [list, List, tuple, set, deque, Tuple])
def test_bare_collections_hold_anything(annotation):
    assert wire(annotation) == {"kind": "list", "items": {"kind": "any"}}


@pytest.mark.parametrize(("base", "kind"), [(str, "string"), (int, "integer"), (float, "number")])
def test_a_kind_of_text_or_number_is_text_or_a_number(base, kind):
    assert wire(type("Constrained", (base,), {})) == {"kind": kind}


def test_a_tuple_of_several_types_is_a_list_of_either():
    assert wire(Tuple[int, str, int])["items"] == {"kind": "union", "members": [{"kind": "integer"}, {"kind": "string"}]}


def test_mappings_are_dicts():
    assert wire(Mapping[str, List[int]]) == {"kind": "dict", "values": {"kind": "list", "items": {"kind": "integer"}}}


def test_optional_is_outside_of_a_union():
    united = {"kind": "union", "members": [{"kind": "string"}, {"kind": "number"}]}
    assert wire(Union[str, None, float]) == {"kind": "optional", "of": united}
    assert wire(Optional[str]) == {"kind": "optional", "of": {"kind": "string"}}
    assert wire(Optional[Any]) == {"kind": "any"}


def test_unions_of_the_newer_form():
    assert wire("str | None") == wire(Optional[str])


def test_literals_are_enums_without_a_name():
    assert wire(Literal["a", 1]) == {"kind": "enum", "name": "", "values": ["a", 1]}
    assert wire(Literal["a", None])["kind"] == "optional"


def test_enums_travel_by_value_or_else_by_name():
    assert wire(Style) == {"kind": "enum", "name": "Style", "values": ["photo", "drawing"]}
    assert wire(Level)["values"] == [1]
    assert wire(Shape)["values"] == ["ROUND"]


def test_typed_dicts_and_models_have_fields():
    right = {"name": "right", "type": {"kind": "optional", "of": {"kind": "path"}}, "required": False}
    assert wire(Pair) == {
        "kind": "model",
        "name": "Pair",
        "fields": [{"name": "left", "type": {"kind": "integer"}, "required": True}, right],
    }
    assert [field["name"] for field in wire(Answer)["fields"]] == ["text", "file"]


def test_a_model_inside_itself_is_an_object_with_a_note():
    reader = TypeReader({})
    read = reader.read(Tree, place="input 'tree'").wire
    assert read["fields"][1]["type"] == {"kind": "list", "items": {"kind": "object"}}
    assert reader.notes == ["input 'tree': 'Tree' inside itself is taken as any JSON object"]


def test_wrappers_mean_what_they_wrap():
    assert wire(NewType("Name", str)) == {"kind": "string"}
    assert wire(TypeVar("Bound", bound=int)) == {"kind": "integer"}
    assert wire(TypeVar("Either", int, str))["kind"] == "union"
    assert wire(typing.Final[int]) == {"kind": "integer"}


@pytest.mark.skipif(not hasattr(typing, "Annotated"), reason="Annotated came with Python 3.9")
def test_annotated_types_mean_what_they_annotate_unless_opaque():
    from cog import Opaque

    assert wire(typing.Annotated[int, "unit"]) == {"kind": "integer"}
    assert wire(typing.Annotated[Style, Opaque]) == {"kind": "object"}


def test_unknown_types_are_any_with_a_note():
    reader = TypeReader({})
    assert reader.read(complex, place="input 'z'").wire == {"kind": "any"}
    assert reader.notes == [
        "input 'z': 'builtins.complex' is taken as any JSON value (it is no type that JSON has or that drivetrain knows)"
    ]


def test_names_for_type_checkers_only_are_any_with_a_note():
    reader = TypeReader({"Optional": Optional})
    assert reader.read("Ghost", place="input 'x'").wire == {"kind": "any"}
    assert "'Ghost'" in reader.notes[0]


@pytest.mark.parametrize("annotation", [3, "not python", lambda: 1, [str], {"a": int}])
def test_nonsense_is_any(annotation):
    assert wire(annotation) == {"kind": "any"}


def test_a_registered_coder_decodes(monkeypatch):
    class Celsius:
        pass

    class CelsiusCoder(Coder):
        @staticmethod
        def factory(tpe):
            return CelsiusCoder() if tpe is Celsius else None

        def decode(self, x):
            return ("decoded", x)

    monkeypatch.setattr(Coder, "_coders", {CelsiusCoder})
    reading = TypeReader({}).read(Celsius, place="input 'x'")
    assert reading.wire == {"kind": "object"}
    assert reading.convert({"a": 1}, Files(())) == ("decoded", {"a": 1})


@pytest.mark.parametrize(
    ("annotation", "concatenate"),
    [
        (typing.Iterator[str], False),
        (typing.AsyncIterator[str], False),
        (typing.Generator[str, None, None], False),
        (ConcatenateIterator[str], True),
    ],
)
def test_iterators_are_outputs_that_come_one_by_one(annotation, concatenate):
    read = TypeReader({}).read_output(annotation, yields=False)
    assert read == {"kind": "iterator", "items": {"kind": "string"}, "concatenate": concatenate}


@pytest.mark.parametrize("annotation", [str, List[str], Iterable[str]])
def test_a_generator_yields_whatever_its_annotation_says(annotation):
    read = TypeReader({}).read_output(annotation, yields=True)
    assert read == {"kind": "iterator", "items": {"kind": "string"}, "concatenate": False}


@pytest.mark.parametrize(
    ("value", "shown"),
    [(Path("a.png"), "a.png"), ((1, 2), [1, 2]), (Style.PHOTO, "photo"), ({"a": Path("b")}, {"a": "b"}), (0, 0), (None, None)],
)
def test_defaults_are_shown_as_json(value, shown):
    assert json_default(value) == shown


@pytest.mark.parametrize("value", [Secret("x"), float("nan"), object(), [object()], b"x"])
def test_defaults_without_a_json_form_are_not_shown(value):
    assert json_default(value) is MISSING
