"""Read the signature of a model from the OpenAPI document that its image carries, whichever release of Cog wrote it.

What cannot be told is taken for any JSON value: the server in the image checks inputs once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    Type,
    UnionOf,
)

_PLAIN = {"integer": INTEGER, "number": NUMBER, "boolean": BOOLEAN, "object": OBJECT}
_FORMATS = {"uri": PATH, "password": SECRET}

#: How deep components may refer to each other, and types may be nested: a component may hold itself.
_DEEPEST = 20


def signature_from_document(document: Any, *, trains: bool = False) -> Signature | None:
    """The signature of predictions, or of trainings; ``None`` if the document describes none."""
    schemas = _mapping(_mapping(_mapping(document).get("components")).get("schemas"))
    prefix = "Training" if trains else ""
    given = schemas.get(f"{prefix}Input")
    if not isinstance(given, Mapping):
        return None
    required = given.get("required")
    reader = _Reader(schemas)
    properties = sorted(_mapping(given.get("properties")).items(), key=lambda item: _order(item[1]))
    return Signature(
        inputs=tuple(reader.field(name, schema, is_required=name in (required or ())) for name, schema in properties),
        output=reader.output(schemas.get(f"{prefix}Output")),
        accepts_extra=given.get("additionalProperties") is True,
    )


class _Reader:
    def __init__(self, schemas: Mapping[str, Any]) -> None:
        self._schemas = schemas

    def field(self, name: str, schema: Any, *, is_required: bool) -> Field:
        own = _mapping(schema)
        whole = {**self._resolved(own), **{key: value for key, value in own.items() if key not in ("allOf", "$ref")}}
        type_ = self.type(whole)
        choices = whole.get("enum")
        return Field(
            name=name,
            type=OptionalOf(type_) if whole.get("nullable") else type_,
            required=is_required,
            default=whole.get("default"),
            description=own.get("description"),
            ge=_number(whole.get("minimum")),
            le=_number(whole.get("maximum")),
            min_length=_count(whole.get("minLength")),
            max_length=_count(whole.get("maxLength")),
            regex=whole.get("pattern"),
            choices=tuple(choices) if isinstance(choices, list) else (),
        )

    def type(self, schema: Mapping[str, Any], depth: int = 0) -> Type:
        if depth > _DEEPEST:
            return ANY
        whole = self._resolved(schema)
        if isinstance(several := whole.get("anyOf"), list):
            given = (_mapping(one) for one in several if _mapping(one).get("type") != "null")
            members = tuple(dict.fromkeys(self.type(one, depth + 1) for one in given))
            return UnionOf(members) if len(members) > 1 else members[0] if members else ANY
        kind = whole.get("type")
        if kind == "string":
            return _FORMATS.get(str(whole.get("format")), STRING)
        if kind == "array":
            return ListOf(self.type(_mapping(whole.get("items")), depth + 1))
        return _PLAIN.get(str(kind), ANY)

    def output(self, schema: Any) -> Type:
        whole = self._resolved(_mapping(schema))
        if whole.get("x-cog-array-type") == "iterator":
            return IteratorOf(
                self.type(_mapping(whole.get("items"))), concatenate=whole.get("x-cog-array-display") == "concatenate"
            )
        return self.type(whole)

    def _resolved(self, schema: Mapping[str, Any], depth: int = 0) -> Mapping[str, Any]:
        """What a schema says once its references have been followed."""
        parts = schema.get("allOf")
        target = schema.get("$ref") or (_mapping(parts[0]).get("$ref") if isinstance(parts, list) and parts else None)
        if not isinstance(target, str) or depth > _DEEPEST:
            return schema
        return self._resolved(_mapping(self._schemas.get(target.rpartition("/")[2])), depth + 1)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _order(schema: Any) -> int:
    order = _mapping(schema).get("x-order")
    return order if isinstance(order, int) else 10_000


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
