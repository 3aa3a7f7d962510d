"""What a client of one revision would notice of another; read off the two OpenAPI documents.

A change is *breaking* where a request that was accepted may be refused or mean something else, or where an answer may have a form
that was not promised. It is worth *notice* where nothing a client sends or reads becomes wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

Schema: TypeAlias = Mapping[str, Any]

#: Components of the document that are a run's input and output.
_RUNS = (("Input", "Output", "input"), ("TrainingInput", "TrainingOutput", "training input"))

#: A bound, how it is said, and whether a larger number allows less.
_BOUNDS = (
    ("minimum", "at least", True),
    ("maximum", "at most", False),
    ("exclusiveMinimum", "more than", True),
    ("exclusiveMaximum", "less than", False),
    ("minLength", "a length of at least", True),
    ("maxLength", "a length of at most", False),
)

#: Says nothing about which values fit.
_SPOKEN = frozenset({"title", "description", "x-order", "default", "deprecated", "nullable", "examples", "accept"})

#: References that lead on are followed so far.
_DEEPEST = 4


class Severity(str, Enum):
    """Whether clients must be changed."""

    BREAKING = "breaking"
    NOTICE = "notice"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One difference that a client would notice."""

    severity: Severity
    message: str


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """The differences between two documents, the breaking ones first.

    Args:
        before: The OpenAPI document that clients were written against.
        after: The one that they would meet.
    """
    changes: list[Change] = []
    for input_name, output_name, word in _RUNS:
        old, new = _component(before, input_name), _component(after, input_name)
        if old is None:
            continue
        if new is None:
            changes.append(_breaking(f"the {word.removesuffix(' input')} is gone"))
            continue
        changes += _Comparison(before, after, word).inputs(old, new)
        changes += _compare_outputs(before, after, output_name, word)
    return sorted(changes, key=lambda change: change.severity is Severity.NOTICE)


class _Comparison:
    """Compares the inputs of one kind of run."""

    def __init__(self, before: Mapping[str, Any], after: Mapping[str, Any], word: str) -> None:
        self._before = before
        self._after = after
        self._word = word

    def inputs(self, old: Schema, new: Schema) -> Iterator[Change]:
        olds, news = old.get("properties", {}), new.get("properties", {})
        required_before, required_after = set(old.get("required", ())), set(new.get("required", ()))
        for name in olds:
            if name not in news:
                yield _breaking(f"{self._word} '{name}' is gone")
                continue
            old_values, new_values = _resolve(self._before, olds[name]), _resolve(self._after, news[name])
            if name in required_after - required_before:
                yield _breaking(f"{self._word} '{name}' must be given now")
                old_values = {key: value for key, value in old_values.items() if key != "default"}  # has just been said
            yield from self._values(name, old_values, new_values)
        for name in news:
            if name not in olds and name in required_after:
                yield _breaking(f"{self._word} '{name}' is new and must be given")
            elif name not in olds:
                yield _notice(f"{self._word} '{name}' is new")

    def _values(self, name: str, old: Schema, new: Schema) -> Iterator[Change]:
        """What one input takes."""
        place = f"{self._word} '{name}'"
        if (one := _kind(self._before, old)) != (other := _kind(self._after, new)):
            if not (one == "integer" and other == "number"):  # every integer is a number
                yield _breaking(f"{place} takes {other} instead of {one}")
            return
        if old.get("nullable") and not new.get("nullable"):
            yield _breaking(f"{place} does not take null any more")
        yield from _choices(place, old, new)
        yield from _bounds(place, old, new)
        if new.get("pattern") is not None and new.get("pattern") != old.get("pattern"):
            yield _breaking(f"{place} must match '{new['pattern']}' now")
        if "default" in old and old.get("default") != new.get("default"):
            yield _notice(f"{place} defaults to {new.get('default')!r} instead of {old['default']!r}")
        if new.get("deprecated") and not old.get("deprecated"):
            yield _notice(f"{place} is deprecated now")


def _choices(place: str, old: Schema, new: Schema) -> Iterator[Change]:
    olds, news = old.get("enum"), new.get("enum")
    if news is None:
        return
    if olds is None:
        yield _breaking(f"{place} takes only some values now: {_listed(news)}")
        return
    if gone := [value for value in olds if value not in news]:
        yield _breaking(f"{place} does not take {_listed(gone)} any more")
    if more := [value for value in news if value not in olds]:
        yield _notice(f"{place} also takes {_listed(more)}")


def _bounds(place: str, old: Schema, new: Schema) -> Iterator[Change]:
    for key, words, larger_allows_less in _BOUNDS:
        limit = new.get(key)
        if limit is None:
            continue
        if key not in old:
            yield _breaking(f"{place} must be {words} {limit:g} now")
        elif limit != old[key] and (limit > old[key]) is larger_allows_less:
            yield _breaking(f"{place} must be {words} {limit:g}, which was {old[key]:g}")


def _compare_outputs(before: Mapping[str, Any], after: Mapping[str, Any], name: str, word: str) -> Iterator[Change]:
    old, new = _component(before, name), _component(after, name)
    if old is None or new is None:
        return
    place = "the output" if word == "input" else "the training's output"
    if (one := _kind(before, old)) != (other := _kind(after, new)):
        yield _breaking(f"{place} is {other} instead of {one}")


def _component(document: Mapping[str, Any], name: str) -> Schema | None:
    found = document.get("components", {}).get("schemas", {}).get(name)
    return _resolve(document, found) if isinstance(found, Mapping) else None


def _resolve(document: Mapping[str, Any], schema: Schema, depth: int = 0) -> Schema:
    """A schema with what it refers to merged in; what it says itself wins."""
    merged: dict[str, Any] = {}
    parts = [schema] if "$ref" in schema else [part for part in schema.get("allOf", ()) if isinstance(part, Mapping)]
    for part in parts:
        reference = part.get("$ref")
        if isinstance(reference, str):
            target = document.get("components", {}).get("schemas", {}).get(reference.rpartition("/")[2], {})
            if target is not schema and depth < _DEEPEST:
                merged |= _resolve(document, target, depth + 1)
        elif part is not schema:
            merged |= part
    return {**merged, **{key: value for key, value in schema.items() if key not in ("$ref", "allOf")}}


def _references(schema: Schema) -> frozenset[str]:
    """What a schema refers to at its top."""
    parts = [schema, *(part for part in schema.get("allOf", ()) if isinstance(part, Mapping))]
    return frozenset(part["$ref"] for part in parts if isinstance(part.get("$ref"), str))


def _kind(document: Mapping[str, Any], schema: Schema, within: frozenset[str] = frozenset()) -> str:
    """What a schema takes, in a few words; equal words mean equal kinds.

    Args:
        within: References that lead here: a structure may hold itself.
    """
    references = _references(schema)
    if references & within:
        return "the same again"
    within |= references
    schema = _resolve(document, schema)
    alternatives = schema.get("anyOf") or schema.get("oneOf")
    if alternatives:
        return " or ".join(sorted({_kind(document, each, within) for each in alternatives}))
    kind = schema.get("type")
    if kind == "array":
        items = _kind(document, schema.get("items", {}), within)
        pieces = {"iterator": "a stream of", "concatenate": "a text in pieces of"}
        how = schema.get("x-cog-array-display") or schema.get("x-cog-array-type")
        return f"{pieces.get(str(how), 'a list of')} {items}"
    if kind == "object":
        properties = schema.get("properties", {})
        if not properties:
            return "an object"
        return "an object of " + ", ".join(f"{name}: {_kind(document, each, within)}" for name, each in sorted(properties.items()))
    if kind == "string":
        return {"uri": "a file", "password": "a secret"}.get(str(schema.get("format")), "a text")
    if kind is None:
        return "anything" if not set(schema) - _SPOKEN else "one of several values"
    return {"integer": "integer", "number": "number", "boolean": "true or false"}.get(str(kind), str(kind))


def _listed(values: list[Any]) -> str:
    return ", ".join(repr(value) for value in values)


def _breaking(message: str) -> Change:
    return Change(severity=Severity.BREAKING, message=message)


def _notice(message: str) -> Change:
    return Change(severity=Severity.NOTICE, message=message)
