import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivetrain.model.errors import InternalError
from drivetrain.model.signature import (
    ANY,
    FILE_KINDS,
    PATH,
    SECRET_KINDS,
    STRING,
    DictOf,
    EnumOf,
    Field,
    IteratorOf,
    Kind,
    ListOf,
    ModelOf,
    OptionalOf,
    Plain,
    Signature,
    UnionOf,
    holds,
)

JSON = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
NAMES = st.text(min_size=1, max_size=5)
FIELDS = st.builds(
    Field,
    name=NAMES,
    type=st.deferred(lambda: TYPES),
    required=st.booleans(),
    default=JSON,
    description=st.none() | st.text(max_size=5),
    ge=st.none() | st.integers(),
    min_length=st.none() | st.just(0),
    choices=st.lists(st.integers(), max_size=2).map(tuple),
    deprecated=st.booleans(),
)
TYPES = st.recursive(
    st.builds(Plain, st.sampled_from(Kind)) | st.builds(EnumOf, NAMES, st.lists(st.integers() | st.text(), max_size=3).map(tuple)),
    lambda inner: st.one_of(
        st.builds(ListOf, inner),
        st.builds(DictOf, inner),
        st.builds(OptionalOf, inner),
        st.builds(UnionOf, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=5,
)
SIGNATURES = st.builds(
    Signature,
    inputs=st.lists(FIELDS, max_size=3).map(tuple),
    output=TYPES | st.builds(IteratorOf, TYPES, st.booleans()) | st.builds(ModelOf, NAMES, st.lists(FIELDS, max_size=2).map(tuple)),
    accepts_extra=st.booleans(),
    is_async=st.booleans(),
    streaming=st.booleans(),
    concurrency=st.none() | st.integers(1, 9),
    notes=st.lists(st.text(max_size=5), max_size=2).map(tuple),
)


@given(SIGNATURES)
def test_the_wire_form_says_everything(signature):
    assert Signature.from_wire(signature.to_wire()) == signature


def test_what_is_not_given_is_not_in_the_wire_form():
    field = Field(name="text", type=STRING, required=True)
    assert Signature(inputs=(field,), output=ANY).to_wire()["inputs"] == [
        {"name": "text", "type": {"kind": "string"}, "required": True}
    ]


def test_a_false_default_and_a_zero_bound_are_in_the_wire_form():
    field = Field(name="flag", type=STRING, required=False, default=False, ge=0)
    wire = Signature(inputs=(field,), output=ANY).to_wire()["inputs"][0]
    assert (wire["default"], wire["ge"]) == (False, 0)


@pytest.mark.parametrize("wire", [{"kind": "tensor"}, {"kind": "list"}, {}])
def test_a_type_that_is_none_is_our_bug(wire):
    with pytest.raises(InternalError, match="not one"):
        Signature.from_wire({"inputs": [], "output": wire})


@pytest.mark.parametrize(
    "type_",
    [
        PATH,
        ListOf(PATH),
        DictOf(ListOf(PATH)),
        OptionalOf(PATH),
        UnionOf((STRING, PATH)),
        IteratorOf(PATH),
        ModelOf("M", (Field(name="f", type=PATH, required=True),)),
    ],
)
def test_files_are_found_in_every_kind_of_type(type_):
    assert holds(type_, FILE_KINDS)
    assert not holds(type_, SECRET_KINDS)


def test_an_enum_holds_no_files():
    assert not holds(EnumOf("", ("a",)), FILE_KINDS)


def test_only_an_iterator_streams():
    assert Signature(inputs=(), output=IteratorOf(STRING, concatenate=True)).concatenates
    assert Signature(inputs=(), output=IteratorOf(STRING)).streams
    assert not Signature(inputs=(), output=IteratorOf(STRING)).concatenates
    assert not Signature(inputs=(), output=ListOf(STRING)).streams
