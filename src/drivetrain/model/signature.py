"""What a model takes and gives: named inputs, one output, and how it runs.

Types are one recursive union of small values; everything that is done with a type (checking a value, describing it as a JSON
schema, finding the files in it) is a fold over that union. The wire form is what a worker sends when it has imported the
author's code; it is plain JSON, and a ``kind`` says which member of the union an object is.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, TypeAlias

import msgspec

from drivetrain.model.errors import InternalError


class Kind(str, Enum):
    """The types without parts. The values are the words on the wire."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    NULL = "null"
    ANY = "any"
    OBJECT = "object"
    PATH = "path"
    FILE = "file"
    SECRET = "secret"  # noqa: S105 (a word, not a password)


FILE_KINDS: Final = frozenset({Kind.PATH, Kind.FILE})
SECRET_KINDS: Final = frozenset({Kind.SECRET})


class Plain(msgspec.Struct, frozen=True):
    """A type without parts. ``OBJECT`` is a mapping of any shape, ``ANY`` takes every JSON value."""

    kind: Kind


class ListOf(msgspec.Struct, frozen=True):
    """A list of items of one type."""

    items: Type


class DictOf(msgspec.Struct, frozen=True):
    """A mapping from strings to values of one type."""

    values: Type


class OptionalOf(msgspec.Struct, frozen=True):
    """A type or null. Never inside a ``UnionOf``."""

    of: Type


class UnionOf(msgspec.Struct, frozen=True):
    """One of several types, none of them null."""

    members: tuple[Type, ...]


class EnumOf(msgspec.Struct, frozen=True):
    """One of several values: an ``Enum`` subclass called ``name``, or a ``Literal``, whose name is empty."""

    name: str
    values: tuple[Any, ...]


class ModelOf(msgspec.Struct, frozen=True):
    """A mapping with known fields: a data class, a ``TypedDict`` or a ``BaseModel``."""

    name: str
    fields: tuple[Field, ...]


class IteratorOf(msgspec.Struct, frozen=True):
    """Items that come one by one; only ever the type of an output. ``concatenate``: they are pieces of one text."""

    items: Type
    concatenate: bool = False


Type: TypeAlias = Plain | ListOf | DictOf | OptionalOf | UnionOf | EnumOf | ModelOf | IteratorOf

STRING: Final = Plain(Kind.STRING)
INTEGER: Final = Plain(Kind.INTEGER)
NUMBER: Final = Plain(Kind.NUMBER)
BOOLEAN: Final = Plain(Kind.BOOLEAN)
NULL: Final = Plain(Kind.NULL)
ANY: Final = Plain(Kind.ANY)
OBJECT: Final = Plain(Kind.OBJECT)
PATH: Final = Plain(Kind.PATH)
FILE: Final = Plain(Kind.FILE)
SECRET: Final = Plain(Kind.SECRET)


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One input, or one field of a model.

    Attributes:
        required: Whether it must be given.
        default: What the author's code uses when it is not given. ``None`` also when there is no default, or none that is JSON.
        choices: The only values allowed; empty when all are.
        accept: MIME types and file suffixes that a file may have, written as in HTML.
    """

    name: str
    type: Type
    required: bool
    default: Any = None
    description: str | None = None
    ge: float | None = None
    le: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    regex: str | None = None
    choices: tuple[Any, ...] = ()
    deprecated: bool = False
    accept: str | None = None


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry point takes and gives.

    Attributes:
        inputs: In the order of the parameters.
        accepts_extra: Whether inputs of other names are passed on as well.
        is_async: Whether it is a coroutine function or an asynchronous generator function.
        streaming: Whether the author declared that its items may be streamed to clients.
        concurrency: How many predictions the author declared that it can run at once.
        notes: What could not be expressed exactly, and how it is served instead; a sentence each.
    """

    inputs: tuple[Field, ...]
    output: Type
    accepts_extra: bool = False
    is_async: bool = False
    streaming: bool = False
    concurrency: int | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Signature:
        """Read the wire form."""
        return cls(
            inputs=tuple(map(_field_from_wire, wire["inputs"])),
            output=_type_from_wire(wire["output"]),
            accepts_extra=wire.get("accepts_extra", False),
            is_async=wire.get("async", False),
            streaming=wire.get("streaming", False),
            concurrency=wire.get("concurrency"),
            notes=tuple(wire.get("notes", ())),
        )

    def to_wire(self) -> dict[str, Any]:
        """Write the wire form."""
        return {
            "inputs": [_field_to_wire(field) for field in self.inputs],
            "accepts_extra": self.accepts_extra,
            "output": _type_to_wire(self.output),
            "async": self.is_async,
            "streaming": self.streaming,
            "concurrency": self.concurrency,
            "notes": list(self.notes),
        }

    @property
    def streams(self) -> bool:
        """Whether the output comes as items, one by one."""
        return isinstance(self.output, IteratorOf)

    @property
    def concatenates(self) -> bool:
        """Whether the output's items are pieces of one text."""
        return isinstance(self.output, IteratorOf) and self.output.concatenate


def holds(type_: Type, kinds: frozenset[Kind]) -> bool:
    """Whether a value of the type may be, or have in it, a value of one of the kinds."""
    match type_:
        case Plain(kind):
            return kind in kinds
        case ListOf(inner) | DictOf(inner) | OptionalOf(inner) | IteratorOf(inner):
            return holds(inner, kinds)
        case UnionOf(members):
            return any(holds(member, kinds) for member in members)
        case ModelOf():
            return any(holds(field.type, kinds) for field in type_.fields)
        case EnumOf():
            return False


def _type_from_wire(wire: Mapping[str, Any]) -> Type:
    match wire:
        case {"kind": "list", "items": items}:
            return ListOf(_type_from_wire(items))
        case {"kind": "dict", "values": values}:
            return DictOf(_type_from_wire(values))
        case {"kind": "optional", "of": inner}:
            return OptionalOf(_type_from_wire(inner))
        case {"kind": "union", "members": members}:
            return UnionOf(tuple(map(_type_from_wire, members)))
        case {"kind": "enum", "name": name, "values": values}:
            return EnumOf(name, tuple(values))
        case {"kind": "model", "name": name, "fields": fields}:
            return ModelOf(name, tuple(map(_field_from_wire, fields)))
        case {"kind": "iterator", "items": items, "concatenate": concatenate}:
            return IteratorOf(_type_from_wire(items), concatenate)
    try:
        return Plain(Kind(wire["kind"]))
    except (KeyError, ValueError) as error:
        raise InternalError(f"a worker sent a type that is not one: '{wire}'") from error


def _type_to_wire(type_: Type) -> dict[str, Any]:
    match type_:
        case Plain(kind):
            return {"kind": kind.value}
        case ListOf(items):
            return {"kind": "list", "items": _type_to_wire(items)}
        case DictOf(values):
            return {"kind": "dict", "values": _type_to_wire(values)}
        case OptionalOf(inner):
            return {"kind": "optional", "of": _type_to_wire(inner)}
        case UnionOf(members):
            return {"kind": "union", "members": [_type_to_wire(member) for member in members]}
        case EnumOf(name, allowed):
            return {"kind": "enum", "name": name, "values": list(allowed)}
        case ModelOf(name, fields):
            return {"kind": "model", "name": name, "fields": [_field_to_wire(field) for field in fields]}
        case IteratorOf(items, concatenate):
            return {"kind": "iterator", "items": _type_to_wire(items), "concatenate": concatenate}


#: In the wire form only when they are given, and under the same names.
_FIELD_EXTRAS: Final = ("default", "description", "ge", "le", "min_length", "max_length", "regex", "accept")


def _field_from_wire(wire: Mapping[str, Any]) -> Field:
    return Field(
        name=wire["name"],
        type=_type_from_wire(wire["type"]),
        required=wire["required"],
        choices=tuple(wire.get("choices") or ()),
        deprecated=wire.get("deprecated", False),
        **{key: wire[key] for key in _FIELD_EXTRAS if key in wire},
    )


def _field_to_wire(field: Field) -> dict[str, Any]:
    wire: dict[str, Any] = {"name": field.name, "type": _type_to_wire(field.type), "required": field.required}
    wire |= {key: value for key in _FIELD_EXTRAS if (value := getattr(field, key)) is not None}
    if field.choices:
        wire["choices"] = list(field.choices)
    if field.deprecated:
        wire["deprecated"] = True
    return wire
