"""Signatures read back from the documents that images carry."""

import pytest

from drivetrain.dialects.cog.openapi import openapi_document
from drivetrain.dialects.cog.openapi_reading import signature_from_document
from drivetrain.model.signature import (
    ANY,
    BOOLEAN,
    INTEGER,
    NUMBER,
    OBJECT,
    PATH,
    SECRET,
    STRING,
    Field,
    IteratorOf,
    ListOf,
    OptionalOf,
    Signature,
    UnionOf,
)


def read_back(*fields, output=STRING, trains=False):
    signature = Signature(inputs=fields, output=output)
    pair = (None, signature) if trains else (signature, None)
    return signature_from_document(openapi_document(*pair, version="1"), trains=trains)


@pytest.mark.parametrize(
    "type_",
    [STRING, INTEGER, NUMBER, BOOLEAN, OBJECT, PATH, SECRET, ListOf(PATH), ListOf(INTEGER), UnionOf((STRING, NUMBER)), ANY],
    ids=repr,
)
def test_types_survive(type_):
    (field,) = read_back(Field(name="x", type=type_, required=True)).inputs
    assert (field.type, field.required) == (type_, True)


def test_constraints_and_choices_survive_in_order():
    given = (
        Field(name="size", type=INTEGER, required=False, default=3, ge=1, le=9, description="How large"),
        Field(name="kind", type=STRING, required=True, choices=("a", "b")),
        Field(name="code", type=STRING, required=True, regex="^x", min_length=1, max_length=3),
        Field(name="maybe", type=OptionalOf(STRING), required=False),
    )
    assert read_back(*given).inputs == given


@pytest.mark.parametrize(
    "output", [STRING, ListOf(PATH), IteratorOf(STRING), IteratorOf(STRING, concatenate=True), OBJECT], ids=repr
)
def test_outputs_survive(output):
    read = read_back(output=output)
    assert read.output == output


def test_trainings_have_inputs_of_their_own():
    assert [field.name for field in read_back(Field(name="data", type=PATH, required=True), trains=True).inputs] == ["data"]


@pytest.mark.parametrize("document", [None, [], {}, {"components": None}, {"components": {"schemas": {"Input": 1}}}])
def test_what_describes_nothing_gives_nothing(document):
    assert signature_from_document(document) is None


def test_a_document_that_refers_to_itself_ends():
    schemas = {"Input": {"properties": {"x": {"$ref": "#/components/schemas/A"}}}, "A": {"$ref": "#/components/schemas/A"}}
    assert signature_from_document({"components": {"schemas": schemas}}).inputs[0].type == ANY


@pytest.mark.parametrize(
    "component",
    [
        {"type": "array", "items": {"$ref": "#/components/schemas/A"}},
        {"anyOf": [{"type": "string"}, {"$ref": "#/components/schemas/A"}]},
    ],
)
def test_a_component_may_hold_itself(component):
    schemas = {"Input": {"properties": {"x": {"$ref": "#/components/schemas/A"}}}, "A": component}
    (field,) = signature_from_document({"components": {"schemas": schemas}}).inputs
    assert isinstance(field.type, ListOf | UnionOf)
