"""The fields of classes that hold named values."""

from dataclasses import dataclass, field
from typing import ClassVar, List, Optional, TypedDict

from cog import BaseModel

from drivetrain_worker.structure import MISSING, fields_of, is_structure, is_typed_dict, namespace_of, values_of


@dataclass
class Point:
    unit: ClassVar[str] = "px"
    x: int
    y: int = 0
    tags: List[str] = field(default_factory=list)
    length: float = field(init=False, default=0.0)


class Box(TypedDict, total=False):
    left: int


class Answer(BaseModel):
    text: str
    score: Optional[float] = None


def test_a_dataclass_has_the_fields_its_constructor_takes():
    assert [(one.name, one.required, one.default) for one in fields_of(Point)] == [
        ("x", True, MISSING),
        ("y", False, 0),
        ("tags", False, MISSING),
    ]


def test_a_typed_dict_that_is_not_total_requires_nothing():
    assert [(one.name, one.required) for one in fields_of(Box)] == [("left", False)]
    assert is_typed_dict(Box)


def test_a_cog_model_has_fields():
    assert [(one.name, one.required, one.default) for one in fields_of(Answer)] == [("text", True, MISSING), ("score", False, None)]


def test_other_classes_have_none():
    assert fields_of(int) is None
    assert not is_structure(int)


def test_values_are_taken_out_without_copying():
    tags = ["a"]
    assert values_of(Point(1, tags=tags))["tags"] is tags


def test_names_of_the_module_and_the_class_are_known_inside_it():
    assert namespace_of(Point)["Answer"] is Answer
    assert namespace_of(Point)["unit"] == "px"
