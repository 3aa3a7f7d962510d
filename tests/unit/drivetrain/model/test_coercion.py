import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivetrain.model.coercion import describe, to_boolean, to_integer, to_number, to_string


@pytest.mark.parametrize(
    ("value", "integer"),
    [("5", 5), (5, 5), (5.0, 5), ("5.0", 5), (" 5 ", 5), ("+3", 3), ("-3", -3), ("1_000", 1000), (True, 1), (False, 0), ("7.", 7)],
)
def test_what_is_an_integer_in_another_form_becomes_one(value, integer):
    assert to_integer(value) == integer
    assert type(to_integer(value)) is int


@pytest.mark.parametrize("value", [5.5, "5.5", "", "x", "1e3", "0x10", "nan", math.nan, math.inf, 1e300, None, [], {}])
def test_what_would_lose_something_as_an_integer_is_refused(value):
    with pytest.raises(ValueError, match="must be an integer, not"):
        to_integer(value)


@given(st.integers())
def test_integers_of_any_size_stay_exact(value):
    assert to_integer(str(value)) == to_integer(f"{value}.0") == to_integer(value) == value


@pytest.mark.parametrize(("value", "number"), [("5", 5.0), (5, 5.0), ("1e3", 1000.0), (" .5 ", 0.5), (True, 1.0), (2**70, 2.0**70)])
def test_what_is_a_number_in_another_form_becomes_a_float(value, number):
    assert to_number(value) == number
    assert type(to_number(value)) is float


@pytest.mark.parametrize("value", ["", "x", "nan", "inf", math.nan, math.inf, 10**400, "1e999", None, [], {}])
def test_what_is_no_finite_number_is_refused(value):
    with pytest.raises(ValueError, match="must be a finite number, not"):
        to_number(value)


@pytest.mark.parametrize("value", [True, 1, 1.0, "true", "True", "yes", "on", "1", " t "])
def test_what_means_yes_becomes_true(value):
    assert to_boolean(value) is True


@pytest.mark.parametrize("value", [False, 0, 0.0, "false", "FALSE", "no", "off", "0"])
def test_what_means_no_becomes_false(value):
    assert to_boolean(value) is False


@pytest.mark.parametrize("value", [2, 0.5, "", "maybe", None, [], math.nan])
def test_what_means_neither_is_refused(value):
    with pytest.raises(ValueError, match="must be true or false, not"):
        to_boolean(value)


@pytest.mark.parametrize(("value", "text"), [("a", "a"), (1, "1"), (5.0, "5.0"), ("", ""), (10**400, "1" + "0" * 400)])
def test_numbers_become_the_text_they_are_written_as(value, text):
    assert to_string(value) == text


@pytest.mark.parametrize("value", [True, None, [], {}, math.nan])
def test_what_has_no_single_text_is_refused(value):
    with pytest.raises(ValueError, match="must be a string, not"):
        to_string(value)


def test_a_long_value_is_cut_in_messages():
    assert len(describe("x" * 1000)) < 100
