import pytest

from drivetrain.model.inputs import InvalidInputs, LocalFile, check_inputs, parse_text
from drivetrain.model.signature import (
    ANY,
    BOOLEAN,
    INTEGER,
    NUMBER,
    OBJECT,
    PATH,
    STRING,
    DictOf,
    EnumOf,
    Field,
    ListOf,
    OptionalOf,
    Signature,
    UnionOf,
)


def read(type_, *texts, accepts_extra=False):
    signature = Signature(inputs=(Field(name="x", type=type_, required=True),), output=ANY, accepts_extra=accepts_extra)
    values = parse_text(signature, {"x": texts})
    return check_inputs(signature, values, strict=True, local_files=True).values["x"]


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        (STRING, "5", "5"),
        (STRING, '"in quotes"', "in quotes"),
        (STRING, '"', '"'),
        (STRING, "null", "null"),
        (INTEGER, "5", 5),
        (INTEGER, str(2**70), 2**70),
        (NUMBER, "1e3", 1000.0),
        (BOOLEAN, "true", True),
        (OptionalOf(INTEGER), "null", None),
        (OptionalOf(STRING), "null", "null"),
        (OptionalOf(ListOf(INTEGER)), "[1, 2]", [1, 2]),
        (ListOf(STRING), "a", ["a"]),
        (ListOf(STRING), '["a", "b"]', ["a", "b"]),
        (ListOf(OptionalOf(STRING)), "a", ["a"]),
        (ListOf(OBJECT), '{"a": 1}', [{"a": 1}]),
        (DictOf(INTEGER), '{"a": "1"}', {"a": 1}),
        (OBJECT, '{"a": [1]}', {"a": [1]}),
        (ANY, "5", 5),
        (ANY, "plain words", "plain words"),
        (ANY, "NaN", "NaN"),
        (UnionOf((STRING, INTEGER)), "5", 5),
        (UnionOf((STRING, NUMBER)), "5.5", 5.5),
        (UnionOf((STRING, INTEGER)), "true", "true"),
        (UnionOf((STRING, BOOLEAN)), "true", True),
        (UnionOf((STRING, ListOf(STRING))), '["a"]', ["a"]),
        (UnionOf((STRING, DictOf(STRING))), '{"a": "b"}', {"a": "b"}),
        (UnionOf((EnumOf("", (1,)), STRING)), "1", 1),
        (PATH, "picture.png", "picture.png"),
    ],
)
def test_a_text_stands_for_a_value_of_its_inputs_type(type_, text, value):
    result = read(type_, text)
    assert result == value
    assert type(result) is type(value)


def test_a_name_given_several_times_is_a_list():
    assert read(ListOf(INTEGER), "1", "2") == [1, 2]
    assert read(ANY, "1", "b") == [1, "b"]


def test_files_may_be_among_texts():
    assert read(ListOf(PATH), LocalFile("a"), "b") == ["a", "b"]
    assert read(OptionalOf(PATH), LocalFile("a")) == "a"


def test_a_name_that_is_not_known_stays_text():
    assert parse_text(Signature(inputs=(), output=ANY), {"y": ["5"]}) == {"y": "5"}


def test_an_extra_input_is_json_if_it_can_be():
    assert parse_text(Signature(inputs=(), output=ANY, accepts_extra=True), {"y": ["5"], "z": ["a"]}) == {"y": 5, "z": "a"}


@pytest.mark.parametrize("type_", [ListOf(INTEGER), DictOf(INTEGER), OBJECT])
def test_a_text_of_endless_brackets_does_not_fit(type_):
    with pytest.raises(InvalidInputs):
        read(type_, "[" * 100_000)
