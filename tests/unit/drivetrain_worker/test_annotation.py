"""Annotations written as text become the types they name, on every Python."""

from typing import Dict, List, Optional, Union, get_args

import pytest

from drivetrain_worker.annotation import UnresolvedError, evaluate


def test_names_are_looked_up_in_the_given_namespace():
    assert evaluate("List[Thing]", {"List": List, "Thing": int}) == List[int]


def test_a_union_written_with_a_bar_is_a_union():
    assert get_args(evaluate("int | str | None", {})) == (int, str, type(None))


def test_bars_and_builtin_generics_work_inside_each_other():
    found = evaluate("dict[str, list[int | None]] | None", {})
    inner = get_args(get_args(found)[0])[1]
    assert get_args(get_args(inner)[0]) == get_args(Optional[int])


def test_quoted_names_may_be_united():
    assert evaluate("'Later' | None", {}) == Union["Later", None]  # noqa: F821 (that it is not there is the point)


def test_typing_forms_are_left_alone():
    assert evaluate("Dict[str, int]", {"Dict": Dict}) == Dict[str, int]


@pytest.mark.parametrize("text", ["Missing", "List[", "int[3]", "module.Missing"])
def test_what_cannot_be_told_says_so(text):
    with pytest.raises(UnresolvedError):
        evaluate(text, {"module": object()})
