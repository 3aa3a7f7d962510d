"""What clients would notice between two revisions, on the documents that are really served."""

import pytest
from msgspec.structs import replace

from drivetrain.dialects.cog.openapi import openapi_document
from drivetrain.model.signature import (
    BOOLEAN,
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
)
from drivetrain.platform.compatibility import Severity, compare


def field(name="x", type_=STRING, **settings):
    return Field(**{"name": name, "type": type_, "required": False, **settings})


def document(*inputs, output=STRING, train=None):
    return openapi_document(Signature(inputs=inputs, output=output), train, version="1")


def changes(before, after):
    return {change.message: change.severity for change in compare(before, after)}


def test_the_same_document_is_no_change():
    one = document(field(choices=("a", "b")), field("y", INTEGER, ge=1, le=3, default=2), output=ListOf(PATH))
    assert compare(one, one) == []


BREAKING = {
    "is gone": (field("x"), None),
    "must be given now": (field(), field(required=True)),
    "takes integer instead of a text": (field(), field(type_=INTEGER)),
    "takes a file instead of a text": (field(), field(type_=PATH)),
    "takes integer instead of number": (field(type_=NUMBER), field(type_=INTEGER)),
    "does not take null any more": (field(type_=OptionalOf(INTEGER)), field(type_=INTEGER)),
    "must be at least 2, which was 1": (field(type_=INTEGER, ge=1), field(type_=INTEGER, ge=2)),
    "must be at most 5, which was 9": (field(type_=INTEGER, le=9), field(type_=INTEGER, le=5)),
    "must be at most 5 now": (field(type_=INTEGER), field(type_=INTEGER, le=5)),
    "must be a length of at most 3 now": (field(), field(max_length=3)),
    "must match '^a' now": (field(), field(regex="^a")),
    "does not take 'b' any more": (field(choices=("a", "b")), field(choices=("a",))),
    "takes only some values now: 'a'": (field(), field(choices=("a",))),
}


@pytest.mark.parametrize("expected", BREAKING)
def test_what_breaks_clients(expected):
    before, after = BREAKING[expected]
    found = changes(document(before), document(*([after] if after else [])))
    assert found == {f"input 'x' {expected}": Severity.BREAKING}


NOTICED = {
    "is new": (None, field()),
    "also takes 'c'": (field(choices=("a",)), field(choices=("a", "c"))),
    "defaults to 2 instead of 1": (field(type_=INTEGER, default=1), field(type_=INTEGER, default=2)),
    "is deprecated now": (field(), field(deprecated=True)),
}


@pytest.mark.parametrize("expected", NOTICED)
def test_what_is_worth_notice(expected):
    before, after = NOTICED[expected]
    found = changes(document(*([before] if before else [])), document(after))
    assert found == {f"input 'x' {expected}": Severity.NOTICE}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (field(type_=INTEGER), field(type_=NUMBER)),
        (field(type_=INTEGER, ge=2), field(type_=INTEGER, ge=1)),
        (field(type_=INTEGER, le=2), field(type_=INTEGER)),
        (field(required=True), field()),
        (field(description="a"), field(description="b")),
        (field(type_=INTEGER), field(type_=OptionalOf(INTEGER))),
    ],
)
def test_what_allows_more_goes_unnoticed(before, after):
    assert compare(document(before), document(after)) == []


def test_an_input_that_loses_its_default_is_told_once():
    found = changes(document(field(default="a")), document(field(required=True)))
    assert found == {"input 'x' must be given now": Severity.BREAKING}


def test_a_new_required_input_breaks():
    assert changes(document(), document(field(required=True))) == {"input 'x' is new and must be given": Severity.BREAKING}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (STRING, PATH, "a file instead of a text"),
        (ListOf(PATH), PATH, "a file instead of a list of a file"),
        (IteratorOf(STRING), STRING, "a text instead of a stream of a text"),
        (ModelOf("Output", (field("a"),)), ModelOf("Output", (field("b", BOOLEAN),)), "an object of b"),
    ],
)
def test_another_output_breaks(before, after, words):
    found = changes(document(output=before), document(output=after))
    assert list(found.values()) == [Severity.BREAKING]
    assert words in next(iter(found))


def test_choices_that_are_an_enum_of_the_code():
    before = field(type_=EnumOf("Style", ("a", "b")))
    found = changes(document(before), document(replace(before, type=EnumOf("Style", ("a",)))))
    assert found == {"input 'x' does not take 'b' any more": Severity.BREAKING}


def test_a_training_that_is_gone_breaks():
    train = Signature(inputs=(field("data", PATH, required=True),), output=PATH)
    assert changes(document(train=train), document()) == {"the training is gone": Severity.BREAKING}


def test_breaking_changes_come_first():
    found = compare(document(field("a"), field("b")), document(field("b", default="x"), field("c")))
    assert next(change.severity for change in found) is Severity.BREAKING


def test_structures_that_hold_themselves_are_compared():
    def tree(leaf):
        reference = {"$ref": "#/components/schemas/Tree"}
        properties = {"left": reference, "right": {"allOf": [reference]}, "leaf": {"type": leaf}}
        schemas = {
            "Input": {"type": "object", "properties": {"tree": reference}},
            "Tree": {"type": "object", "properties": properties},
        }
        return {"components": {"schemas": schemas}}

    assert compare(tree("string"), tree("string")) == []
    (change,) = compare(tree("string"), tree("integer"))
    assert change.severity is Severity.BREAKING


def test_a_reference_that_leads_to_itself_says_nothing():
    schemas = {
        "Input": {"type": "object", "properties": {"x": {"$ref": "#/components/schemas/A"}}},
        "A": {"$ref": "#/components/schemas/B"},
        "B": {"$ref": "#/components/schemas/A"},
    }
    assert compare({"components": {"schemas": schemas}}, {"components": {"schemas": schemas}}) == []
