"""``cog.BaseModel`` where there is no pydantic; with pydantic see ``test_pydantic.py``."""

import dataclasses
import json
from typing import ClassVar, Dict, List, Optional

import pytest
from cog import BaseModel, Path


class Box(BaseModel):
    left: int = 0
    label: str
    note: Optional[str]
    tags: List[str] = []
    unit: ClassVar[str] = "px"


class Page(BaseModel):
    boxes: List[Box]
    by_name: Dict[str, Box] = {}


def test_a_subclass_is_a_dataclass():
    assert dataclasses.is_dataclass(Box)
    assert Box(1, "a") == Box(left=1, label="a")
    assert repr(Box(label="a")) == "Box(left=0, label='a', note=None, tags=[])"
    assert isinstance(Box(label="a"), BaseModel)


def test_mutable_defaults_are_not_shared():
    Box(label="a").tags.append("x")
    assert Box(label="b").tags == []


def test_an_optional_field_that_is_not_given_is_none_and_unknown_names_are_ignored():
    box = Box(label="a", color="red")
    assert box.note is None
    assert not hasattr(box, "color")


def test_missing_and_surplus_values_are_refused():
    with pytest.raises(TypeError, match="'Page' needs a value for 'boxes'"):
        Page()
    with pytest.raises(TypeError, match="'Box' takes at most 4 values, not 5"):
        Box(1, "a", None, [], "extra")


def test_it_gives_dictionaries_and_json():
    page = Page(boxes=[Box(label="a")], by_name={"b": Box(label="b", note="n")})
    box = {"left": 0, "label": "a", "note": None, "tags": []}
    assert page.model_dump() == page.dict() == {"boxes": [box], "by_name": {"b": {**box, "label": "b", "note": "n"}}}
    assert json.loads(page.json()) == json.loads(page.model_dump_json(indent=2)) == page.dict()


def test_fields_can_be_left_out_of_a_dictionary():
    box = Box(label="a")
    assert box.dict(exclude_none=True, exclude={"tags"}) == {"left": 0, "label": "a"}
    assert box.dict(include={"label"}) == {"label": "a"}


def test_models_inherit_fields():
    class Colored(Box):
        color: str = "red"

    assert Colored(label="a").dict()["color"] == "red"


def test_a_model_may_compute_fields_after_its_values_are_set():
    class Sum(BaseModel):
        a: int
        double: int = dataclasses.field(init=False)

        def __post_init__(self):
            self.double = 2 * self.a

    assert Sum(a=2).dict() == {"a": 2, "double": 4}


def test_class_arguments_reach_the_dataclass():
    class Frozen(BaseModel, frozen=True):
        a: int

    with pytest.raises(dataclasses.FrozenInstanceError):
        Frozen(a=1).a = 2


def test_a_class_may_stay_as_it_is_written():
    class Manual(BaseModel, auto_dataclass=False):
        def __init__(self, path):
            self.path = path

    assert not dataclasses.is_dataclass(Manual)
    assert Manual(Path("a")).path == Path("a")


def test_a_config_for_pydantic_does_no_harm_without_pydantic():
    class Configured(BaseModel):
        a: int = 1

        class Config:
            arbitrary_types_allowed = True

    assert Configured().a == 1
