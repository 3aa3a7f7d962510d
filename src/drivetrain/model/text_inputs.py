"""Inputs that were written as text, ``name=value``: the JSON value that each text stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from drivetrain.model.examination import LocalFile
from drivetrain.model.signature import (
    ANY,
    STRING,
    DictOf,
    EnumOf,
    Kind,
    ListOf,
    ModelOf,
    OptionalOf,
    Plain,
    Signature,
    Type,
    UnionOf,
)


def parse_text(signature: Signature, texts: Mapping[str, Sequence[str | LocalFile]]) -> dict[str, Any]:
    """Read texts by the types of the inputs they are for; the result is yet to be checked.

    A name given several times becomes a list, and so does one text for a list that is not itself a JSON list. Texts for lists,
    objects and untyped inputs are JSON where they can be. Numbers and booleans stay text: the check reads them. Double quotes
    around a text are taken off, as Cog's command line does.
    """
    types = {field.name: field.type for field in signature.inputs}
    extra = ANY if signature.accepts_extra else STRING
    return {name: _parse_input(given, types.get(name, extra)) for name, given in texts.items()}


def _parse_input(given: Sequence[str | LocalFile], type_: Type) -> Any:
    if isinstance(type_, OptionalOf):
        if list(given) == ["null"] and type_.of != STRING:
            return None
        type_ = type_.of
    if isinstance(type_, ListOf):
        return _parse_list(given, type_.items)
    values = [_parse(text, type_) for text in given]
    return values[0] if len(values) == 1 else values


def _parse_list(given: Sequence[str | LocalFile], items: Type) -> Any:
    if len(given) == 1 and isinstance(given[0], str) and isinstance(whole := _parse_json(given[0]), list):
        return whole
    return [_parse(text, items) for text in given]


def _parse(text: str | LocalFile, type_: Type) -> Any:
    if isinstance(text, LocalFile):
        return text
    match type_:
        case OptionalOf(inner):
            return _parse(text, inner)
        case Plain(Kind.ANY | Kind.OBJECT) | ListOf() | DictOf() | ModelOf():
            return _parse_json(text)
        case UnionOf(members):
            value = _parse_json(text)
            return value if any(_is_meant(value, member) for member in members) else text
        case _:
            is_quoted = len(text) > 1 and text[0] == text[-1] == '"'
            return text[1:-1] if is_quoted else text


def _parse_json(text: str) -> Any:
    """The JSON value, or the text itself if it is none."""
    import json  # few servers ever need it

    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):  # the latter for a text of a hundred thousand brackets
        return text


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"'{name}' is not JSON")


def _is_meant(value: Any, member: Type) -> bool:
    match member:
        case Plain(Kind.INTEGER):
            return type(value) is int
        case Plain(Kind.NUMBER):
            return type(value) in (int, float)
        case Plain(Kind.BOOLEAN):
            return type(value) is bool
        case Plain(Kind.ANY):
            return True
        case ListOf():
            return isinstance(value, list)
        case Plain(Kind.OBJECT) | DictOf() | ModelOf():
            return isinstance(value, dict)
        case EnumOf(_, allowed):
            return value in allowed
        case _:
            return False
