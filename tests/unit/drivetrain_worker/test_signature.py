"""Signatures are read from functions as authors write them."""

from __future__ import annotations

import functools
import re
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, AsyncIterator, Iterator, List, Optional

import pytest
from cog import BasePredictor, ConcatenateIterator, Input, Path, Secret, concurrent, streaming

from drivetrain_worker.signature import SignatureError, describe, read_parameters, settle_defaults

if TYPE_CHECKING:
    from somewhere import Ghost


def fields(function, *, bound=False):
    return {field["name"]: field for field in describe(function, bound=bound)["inputs"]}


def output(function):
    return describe(function, bound=False)["output"]


def traced(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


class Base(BasePredictor):
    scale = Input(default=2, ge=1, le=4, description="How much")

    @staticmethod
    def seed_input():
        return Input(default=None, description="Seed")

    def predict(self, image: Path, scale: int = scale, seed: int = seed_input.__func__()) -> Path:
        return image


class Derived(Base):
    class Mode(Enum):
        FAST = "fast"


class Nested:
    class Mode(Enum):
        FAST = "fast"

    def predict(self, mode: Mode = Mode.FAST) -> str:
        return mode.value


def test_an_inherited_method_with_inputs_from_class_attributes_and_static_methods():
    assert describe(Derived.predict, bound=True)["inputs"] == [
        {"name": "image", "type": {"kind": "path"}, "required": True},
        {
            "name": "scale",
            "type": {"kind": "integer"},
            "required": False,
            "default": 2,
            "description": "How much",
            "ge": 1,
            "le": 4,
        },
        {"name": "seed", "type": {"kind": "optional", "of": {"kind": "integer"}}, "required": False, "description": "Seed"},
    ]


def test_annotations_as_text_find_names_in_the_class_around():
    assert fields(Nested.predict, bound=True)["mode"]["type"] == {"kind": "enum", "name": "Mode", "values": ["fast"]}


def test_an_input_without_default_is_required_and_an_empty_default_is_one():
    def predict(
        a: str = Input(description="needed"), b: str = Input(default=""), c: str = Input("x"), d: str = Input(...)
    ) -> str: ...

    assert [field["required"] for field in fields(predict).values()] == [True, False, False, True]
    assert [field.get("default") for field in fields(predict).values()] == [None, "", "x", None]


def test_none_makes_an_input_optional_and_so_does_an_optional_type():
    def predict(
        a: Path = Input(default=None), b: Optional[int] = Input(description="x"), c: Optional[int] = None, d: str = None
    ) -> str: ...

    read = fields(predict)
    assert all(not field["required"] and field["type"]["kind"] == "optional" and "default" not in field for field in read.values())
    assert read_parameters(predict, bound=False).defaults == {"a": None, "b": None, "c": None, "d": None}


def test_everything_input_is_told_is_passed_on():
    def predict(
        a: str = Input("b", min_length=1, max_length=9, regex="^b", choices=["b", "c"], deprecated=True),
        f: Path = Input(accept="image/*"),
    ) -> str: ...

    assert fields(predict)["a"] == {
        "name": "a",
        "type": {"kind": "string"},
        "required": False,
        "default": "b",
        "min_length": 1,
        "max_length": 9,
        "regex": "^b",
        "choices": ["b", "c"],
        "deprecated": True,
    }
    assert fields(predict)["f"]["accept"] == "image/*"


def test_choices_may_be_any_collection():
    def predict(a: str = Input(choices={"x": 1, "y": 2}.keys()), b: int = Input(choices=range(3))) -> str: ...

    assert [field["choices"] for field in fields(predict).values()] == [["x", "y"], [0, 1, 2]]


def test_what_cannot_be_told_of_an_input_is_left_out_with_a_note():
    def predict(
        a: float = Input(ge=Decimal("0.5"), le=float("inf")),
        b: str = Input(regex=re.compile(b"x"), choices=[object()]),
        c: int = Input(ge=0, le=5),
    ) -> str: ...

    read = describe(predict, bound=False)
    assert [sorted(set(field) - {"name", "type", "required"}) for field in read["inputs"]] == [[], [], ["ge", "le"]]
    assert read["notes"] == [
        "input 'a': what is asked with 'ge' has no JSON form and is not checked",
        "input 'a': what is asked with 'le' has no JSON form and is not checked",
        "input 'b': what is asked with 'regex' has no JSON form and is not checked",
        "input 'b': what is asked with 'choices' has no JSON form and is not checked",
    ]


def test_a_function_without_annotations_takes_and_gives_anything():
    def predict(text, count=3):
        return text

    assert fields(predict)["text"] == {"name": "text", "type": {"kind": "any"}, "required": True}
    assert fields(predict)["count"]["default"] == 3
    assert output(predict) == {"kind": "any"}


def test_a_default_keeps_its_form_for_the_call_and_is_text_in_the_schema():
    def predict(image: Path = Path("a.png"), key: Secret = Secret("hidden")) -> str: ...

    assert fields(predict)["image"]["default"] == "a.png"
    assert "default" not in fields(predict)["key"]
    assert read_parameters(predict, bound=False).defaults["image"] == Path("a.png")


def test_a_wrapped_function_is_seen_through():
    @traced
    @traced
    async def predict(text: str) -> List[Path]: ...

    read = describe(predict, bound=False)
    assert [field["name"] for field in read["inputs"]] == ["text"]
    assert read["async"]
    assert read["output"] == {"kind": "list", "items": {"kind": "path"}}


def test_a_wrapper_that_hides_its_function_takes_any_name():
    def predict(self, *args, **kwargs): ...

    assert describe(predict, bound=True)["inputs"] == []
    assert describe(predict, bound=True)["accepts_extra"]


def test_self_may_be_among_the_args():
    def predict(*args: Any, text: str): ...

    assert list(fields(predict, bound=True)) == ["text"]


def test_a_partial_and_a_callable_object_are_functions_too():
    class Greeter:
        def __call__(self, name: str) -> str: ...

    def predict(greeting: str, name: str) -> str: ...

    assert list(fields(Greeter())) == ["name"]
    assert fields(functools.partial(predict, greeting="hi"))["greeting"]["default"] == "hi"


def test_a_name_for_type_checkers_only_is_any_with_a_note():
    def predict(ghost: Ghost) -> Ghost: ...

    read = describe(predict, bound=False)
    assert read["inputs"][0]["type"] == read["output"] == {"kind": "any"}
    assert [note.split(":")[0] for note in read["notes"]] == ["input 'ghost'", "the output"]


def test_what_cannot_be_called_by_name_is_refused():
    with pytest.raises(SignatureError, match="'text' by position only"):
        describe(eval("lambda text, /: text"), bound=False)
    with pytest.raises(SignatureError, match="add 'self'"):
        describe(lambda: None, bound=True)
    with pytest.raises(SignatureError, match="cannot be read"):
        describe(3, bound=False)


def test_generators_give_iterators():
    def annotated() -> Iterator[Path]:
        yield Path("a")

    def bare():
        yield 1

    async def concatenated() -> ConcatenateIterator[str]:
        yield "a"

    assert output(annotated) == {"kind": "iterator", "items": {"kind": "path"}, "concatenate": False}
    assert output(bare) == {"kind": "iterator", "items": {"kind": "any"}, "concatenate": False}
    assert output(concatenated) == {"kind": "iterator", "items": {"kind": "string"}, "concatenate": True}
    assert describe(concatenated, bound=False)["async"]


def test_marks_are_found_below_other_decorators():
    @traced
    @streaming
    @concurrent(max=4)
    async def predict(text: str) -> AsyncIterator[str]:
        yield text

    read = describe(predict, bound=False)
    assert (read["streaming"], read["concurrency"], read["async"]) == (True, 4, True)


def test_an_unmarked_function_is_plain():
    read = describe(lambda: None, bound=False)
    assert (read["streaming"], read["concurrency"], read["async"], read["accepts_extra"]) == (False, None, False, False)


def test_settled_defaults_let_authors_call_their_own_function():
    @traced
    def predict(needed: str = Input(description="x"), scale: int = Input(default=2), *, seed: int = Input(default=None)) -> Any:
        return needed, scale, seed

    read_parameters(predict, bound=False)
    settle_defaults(predict)
    assert predict() == (None, 2, None)
