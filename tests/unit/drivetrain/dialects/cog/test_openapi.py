"""What Cog 0.16 says with pydantic 2 about the projects in ``fixtures`` is in ``cog_0_16_openapi.json`` beside each of them."""

import json
from pathlib import Path

import pytest

from drivetrain.dialects.cog.openapi import openapi_document
from drivetrain.dialects.cog.static_reading import read_statically
from drivetrain.model.json_schema import reference
from drivetrain.model.signature import (
    ANY,
    INTEGER,
    NUMBER,
    PATH,
    STRING,
    EnumOf,
    Field,
    IteratorOf,
    ListOf,
    ModelOf,
    OptionalOf,
    Signature,
    UnionOf,
)

FIXTURES = Path(__file__).parent / "fixtures"

#: Where we differ, and why.
DIFFERENCES = {
    "info.version": "ours is the version we are told",
    # A literal is shown as choices are: by a component, with its default and description kept at the input.
    "components.schemas.Input.properties.only.const": "not in OpenAPI 3.0",
    "components.schemas.Input.properties.only.title": "is in the component",
    "components.schemas.Input.properties.only.type": "is in the component",
    "components.schemas.numbers.description": "stays at the input",
    # Cog forgot the trainings when it repaired what FastAPI wrote about predictions.
    "paths./trainings/{training_id}.put.requestBody.content.application/json.schema.$ref": "as for predictions",
    "components.schemas.TrainingResponse.properties.output.nullable": "as for predictions",
}


def read(project, file="predict.py", name="Predictor", mode="predict"):
    return read_statically(FIXTURES / project, file, name, mode).signature


def schemas(output=ANY, *inputs):
    return openapi_document(Signature(inputs=inputs, output=output), None, version="1")["components"]["schemas"]


def missing(theirs, ours, at=""):
    """Where ours lacks something that theirs has, or has something else there."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key, value in theirs.items():
            place = f"{at}.{key}" if at else key
            yield from missing(value, ours[key], place) if key in ours else [place]
    elif theirs != ours:
        yield at


@pytest.mark.parametrize(
    ("project", "predict", "train"),
    [("inputs", "Predictor", "train"), ("text_stream", "Predictor", None), ("nested_output", "predict", None)],
)
def test_everything_that_cog_says_is_said(project, predict, train):
    theirs = json.loads((FIXTURES / project / "cog_0_16_openapi.json").read_text())
    ours = openapi_document(
        read(project, name=predict), read(project, "train.py", train, "train") if train else None, version="1.2.3"
    )
    assert set(missing(theirs, ours)) - set(DIFFERENCES) == set()


def test_nothing_is_required_that_cog_does_not_require():
    theirs = json.loads((FIXTURES / "inputs" / "cog_0_16_openapi.json").read_text())["components"]["schemas"]
    ours = openapi_document(read("inputs"), None, version="1")["components"]["schemas"]
    assert ours["Input"]["required"] == theirs["Input"]["required"]
    assert set(ours["Input"]["properties"]) == set(theirs["Input"]["properties"])
    assert set(ours["Output"]) == set(theirs["Output"])


def test_every_difference_is_still_there():
    theirs = json.loads((FIXTURES / "inputs" / "cog_0_16_openapi.json").read_text())
    ours = openapi_document(read("inputs"), read("inputs", "train.py", "train", "train"), version="1.2.3")
    assert set(missing(theirs, ours)) == set(DIFFERENCES)


def test_every_reference_leads_to_a_component():
    document = openapi_document(read("modern", name="Runner"), read("inputs", "train.py", "train", "train"), version="1")
    text = json.dumps(document)
    names = {piece.partition('"')[0] for piece in text.split('"#/components/schemas/')[1:]}
    assert names <= set(document["components"]["schemas"])


def test_choices_are_a_component_named_for_the_input():
    field = Field(name="size", type=INTEGER, required=False, default=1, choices=(1, 2), description="Size")
    found = schemas(ANY, field)
    assert found["size"] == {"title": "size", "type": "integer", "enum": [1, 2], "description": "An enumeration."}
    assert found["Input"]["properties"]["size"] == {
        "allOf": [reference("size")],
        "description": "Size",
        "default": 1,
        "x-order": 0,
    }


@pytest.mark.parametrize("type_", [EnumOf("Mode", ("a", "b")), EnumOf("", ("a", "b"))])
def test_enums_and_literals_are_shown_as_choices(type_):
    found = schemas(ANY, Field(name="mode", type=OptionalOf(type_), required=False))
    assert found["Input"]["properties"]["mode"] == {"allOf": [reference("mode")], "nullable": True, "x-order": 0}
    assert found["mode"]["enum"] == ["a", "b"]


def test_choices_of_a_list_are_those_of_its_items():
    found = schemas(ANY, Field(name="tags", type=ListOf(STRING), required=True, choices=("a", "b")))
    assert found["Input"]["properties"]["tags"] == {
        "title": "Tags",
        "type": "array",
        "x-order": 0,
        "items": {"type": "string", "enum": ["a", "b"]},
    }


def test_an_input_called_like_a_component_of_the_protocol_is_told_apart():
    found = schemas(ANY, Field(name="Status", type=STRING, required=True, choices=("a",)))
    assert found["Input"]["properties"]["Status"]["allOf"] == [reference("Status_2")]
    assert "starting" in found["Status"]["enum"]


def test_predictions_and_trainings_may_have_different_choices_of_one_name():
    predict, train = (
        Signature(inputs=(Field(name="size", type=INTEGER, required=True, choices=(size,)),), output=ANY) for size in (1, 2)
    )
    found = openapi_document(predict, train, version="1")["components"]["schemas"]
    assert found["size"]["enum"] == [1]
    assert found["TrainingInput"]["properties"]["size"]["allOf"] == [reference("size_2")]


@pytest.mark.parametrize(
    ("output", "schema"),
    [
        (ANY, {"title": "Output"}),
        (STRING, {"title": "Output", "type": "string"}),
        (OptionalOf(STRING), {"title": "Output", "type": "string", "nullable": True}),
        (UnionOf((STRING, INTEGER)), {"title": "Output", "anyOf": [{"type": "string"}, {"type": "integer"}]}),
        (ListOf(PATH), {"title": "Output", "type": "array", "items": {"type": "string", "format": "uri"}}),
        (EnumOf("Colour", ("r",)), reference("Colour")),
        (EnumOf("", (1,)), {"title": "Output", "description": "An enumeration.", "type": "integer", "enum": [1]}),
        (ModelOf("Item", ()), reference("Item")),
        (OptionalOf(ModelOf("Item", ())), {**reference("Item"), "nullable": True}),
        (ModelOf("TrainingOutput", ()), {"title": "Output", "type": "object", "properties": {}}),
        (
            IteratorOf(STRING, concatenate=True),
            {
                "title": "Output",
                "type": "array",
                "items": {"type": "string"},
                "x-cog-array-type": "iterator",
                "x-cog-array-display": "concatenate",
            },
        ),
    ],
)
def test_outputs_are_as_cog_shows_them(output, schema):
    assert schemas(output)["Output"] == schema


def test_inputs_of_any_name_are_allowed_where_the_function_takes_them():
    document = openapi_document(Signature(inputs=(), output=ANY, accepts_extra=True), None, version="1")
    assert document["components"]["schemas"]["Input"]["additionalProperties"] is True


def test_only_what_the_model_does_has_paths():
    signature = Signature(inputs=(Field(name="n", type=NUMBER, required=True),), output=ANY)
    trains = openapi_document(None, signature, version="1")
    assert "/trainings" in trains["paths"]
    assert "/predictions" not in trains["paths"]
    assert "Input" not in trains["components"]["schemas"]


def test_a_prediction_can_be_looked_at():
    document = openapi_document(Signature(inputs=(), output=ANY), None, version="1")
    operation = document["paths"]["/predictions/{prediction_id}"]["get"]
    assert operation["responses"]["200"]["content"]["application/json"]["schema"] == reference("PredictionResponse")


@pytest.mark.parametrize("streaming", [True, False])
def test_a_streaming_model_is_marked(streaming):
    document = openapi_document(Signature(inputs=(), output=IteratorOf(STRING), streaming=streaming), None, version="1")
    assert document["paths"]["/predictions"]["post"].get("x-cog-streaming", False) is streaming
