import pytest

from drivetrain.model.json_schema import Components, field_schema, reference, title_of, type_schema
from drivetrain.model.signature import (
    ANY,
    FILE,
    INTEGER,
    NULL,
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

URI = {"type": "string", "format": "uri"}
MODEL = ModelOf(
    "Point", (Field(name="x", type=INTEGER, required=True), Field(name="to_y", type=STRING, required=False, default="a"))
)


@pytest.mark.parametrize(
    ("type_", "schema"),
    [
        (ANY, {}),
        (NULL, {"nullable": True}),
        (OBJECT, {"type": "object", "additionalProperties": True}),
        (PATH, URI),
        (FILE, URI),
        (SECRET, {"type": "string", "format": "password", "writeOnly": True, "x-cog-secret": True}),
        (ListOf(PATH), {"type": "array", "items": URI}),
        (DictOf(INTEGER), {"type": "object", "additionalProperties": {"type": "integer"}}),
        (DictOf(ANY), {"type": "object", "additionalProperties": True}),
        (OptionalOf(STRING), {"type": "string", "nullable": True}),
        (UnionOf((STRING, INTEGER)), {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        (EnumOf("", ("a",)), {"type": "string", "enum": ["a"]}),
        (EnumOf("", ("a", 1)), {"enum": ["a", 1]}),
        (IteratorOf(STRING), {"type": "array", "items": {"type": "string"}, "x-cog-array-type": "iterator"}),
    ],
)
def test_types_have_schemas(type_, schema):
    assert type_schema(type_, Components()) == schema


def test_pieces_of_a_text_are_marked():
    assert type_schema(IteratorOf(STRING, concatenate=True), Components())["x-cog-array-display"] == "concatenate"


def test_named_types_become_components():
    components = Components()
    assert type_schema(ListOf(MODEL), components) == {"type": "array", "items": reference("Point")}
    assert components.schemas["Point"] == {
        "title": "Point",
        "type": "object",
        "properties": {"x": {"title": "X", "type": "integer"}, "to_y": {"title": "To Y", "type": "string", "default": "a"}},
        "required": ["x"],
    }


def test_the_same_type_is_one_component():
    components = Components()
    assert type_schema(MODEL, components) == type_schema(MODEL, components)
    assert list(components.schemas) == ["Point"]


def test_different_types_of_one_name_are_told_apart():
    components = Components(frozenset({"Mode"}))
    references = [type_schema(EnumOf("Mode", (value,)), components) for value in ("a", "b", "a")]
    assert references == [reference("Mode_2"), reference("Mode_3"), reference("Mode_2")]


def test_a_field_shows_what_is_known_about_its_values():
    field = Field(name="n", type=INTEGER, required=False, default=0, ge=0, le=5, description="N", deprecated=True)
    assert field_schema(field, Components()) == {
        "title": "N",
        "type": "integer",
        "minimum": 0,
        "maximum": 5,
        "default": 0,
        "description": "N",
        "deprecated": True,
    }


def test_lengths_of_a_list_are_numbers_of_items():
    field = Field(name="n", type=ListOf(STRING), required=False, min_length=1, max_length=2, regex="^a")
    schema = field_schema(field, Components())
    assert (schema["minItems"], schema["maxItems"]) == (1, 2)
    assert schema["items"] == {"type": "string", "pattern": "^a"}


def test_a_reference_has_no_title():
    assert field_schema(Field(name="p", type=MODEL, required=True), Components()) == reference("Point")


def test_titles_are_words():
    assert title_of("_num_inference_steps") == "Num Inference Steps"
