"""From types to JSON schemas as OpenAPI 3.0 has them, with the ``x-cog-`` marks that Cog's clients read.

Named types become components that are referred to, as pydantic does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from drivetrain.model.signature import (
    DictOf,
    EnumOf,
    Field,
    IteratorOf,
    Kind,
    ListOf,
    ModelOf,
    OptionalOf,
    Plain,
    Type,
    UnionOf,
)

Schema: TypeAlias = dict[str, Any]


class Components:
    """The named schemas of a document. Owned by whoever builds the document.

    Args:
        reserved: Names that the document uses itself.
    """

    def __init__(self, reserved: frozenset[str] = frozenset()) -> None:
        self.schemas: dict[str, Schema] = {}
        self._reserved = reserved

    def refer(self, name: str, schema: Schema) -> Schema:
        """Add a schema under a name, or under a numbered one if the name means something else already, and refer to it."""
        candidate, number = name, 1
        while candidate in self._reserved or self.schemas.setdefault(candidate, schema) != schema:
            number += 1
            candidate = f"{name}_{number}"
        return reference(candidate)


def reference(name: str) -> Schema:
    """A schema that says: see the component of this name."""
    return {"$ref": f"#/components/schemas/{name}"}


def title_of(name: str) -> str:
    """How a field's name is shown."""
    return name.replace("_", " ").title().strip()


def type_schema(type_: Type, components: Components) -> Schema:
    """The schema of a type; what it names is added to the components."""
    match type_:
        case Plain(kind):
            return dict(_PLAIN[kind])
        case ListOf(items):
            return {"type": "array", "items": type_schema(items, components)}
        case DictOf(values):
            return {"type": "object", "additionalProperties": type_schema(values, components) or True}
        case OptionalOf(inner):
            return type_schema(inner, components) | {"nullable": True}
        case UnionOf(members):
            return {"anyOf": [type_schema(member, components) for member in members]}
        case EnumOf(name, values):
            return components.refer(name, enum_schema(name, values)) if name else _values_schema(values)
        case ModelOf(name, fields):
            return components.refer(name, object_schema(name, fields, components))
        case IteratorOf(items, concatenate):
            display = {"x-cog-array-display": "concatenate"} if concatenate else {}
            return {"type": "array", "items": type_schema(items, components), "x-cog-array-type": "iterator", **display}


def enum_schema(name: str, values: tuple[Any, ...]) -> Schema:
    """The schema of one of several values, for a component."""
    return {"title": name, "description": "An enumeration.", **_values_schema(values)}


def object_schema(title: str, fields: tuple[Field, ...], components: Components) -> Schema:
    """The schema of a mapping with known fields."""
    required = [field.name for field in fields if field.required]
    return {
        "title": title,
        "type": "object",
        "properties": {field.name: field_schema(field, components) for field in fields},
        **({"required": required} if required else {}),
    }


def field_schema(field: Field, components: Components) -> Schema:
    """The schema of a field: its type's, and what else is known about its values."""
    schema = type_schema(field.type, components)
    if "$ref" not in schema:
        schema["title"] = title_of(field.name)
    target = schema["items"] if schema.get("type") == "array" else schema
    target |= {
        word: value for word, value in (("minimum", field.ge), ("maximum", field.le), ("pattern", field.regex)) if value is not None
    }
    shortest, longest = ("minItems", "maxItems") if target is not schema else ("minLength", "maxLength")
    optional = {
        shortest: field.min_length,
        longest: field.max_length,
        "description": field.description,
        "default": field.default,
        "deprecated": field.deprecated or None,
        "x-cog-accept": field.accept,
    }
    return schema | {word: value for word, value in optional.items() if value is not None}


def _values_schema(values: tuple[Any, ...]) -> Schema:
    kinds = {_JSON_TYPES[type(value)] for value in values if type(value) in _JSON_TYPES}
    return {"enum": list(values), **({"type": kinds.pop()} if len(kinds) == 1 else {})}


_PLAIN: Mapping[Kind, Schema] = {
    Kind.STRING: {"type": "string"},
    Kind.INTEGER: {"type": "integer"},
    Kind.NUMBER: {"type": "number"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.NULL: {"nullable": True},
    Kind.ANY: {},
    Kind.OBJECT: {"type": "object", "additionalProperties": True},
    Kind.PATH: {"type": "string", "format": "uri"},
    Kind.FILE: {"type": "string", "format": "uri"},
    Kind.SECRET: {"type": "string", "format": "password", "writeOnly": True, "x-cog-secret": True},
}

_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}
