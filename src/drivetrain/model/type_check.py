"""From a type to a function that checks values of it: closures that are built once, so that checking costs next to nothing.

A check returns the value in the form the model gets it. What is wrong, and where files and secrets are, it writes into the
``Examination`` that goes through with it; with something wrong, what it returns means nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

from drivetrain.model import coercion
from drivetrain.model.constraint import constraint_check
from drivetrain.model.examination import Check, Examination, FilePlace, LocalFile
from drivetrain.model.json_value import Pointer
from drivetrain.model.signature import (
    SECRET_KINDS,
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
    holds,
)

#: How deep a value may be whose type says nothing of what is inside. Many a Python gives up on JSON of less than a thousand levels,
#: and so would the model's own code.
_MOST_LEVELS = 500

_CONTAINERS = frozenset({list, dict})


def field_check(field: Field) -> Check:
    """The check for a field: its type, and what else the author asked of its values.

    Raises:
        ProjectError: The author's regular expression is not one.
    """
    check = type_check(field.type)
    constraint = constraint_check(field)
    if constraint is None:
        return check

    def check_with_constraint(value: Any, location: Pointer, examination: Examination) -> Any:
        before = len(examination.problems)
        checked = check(value, location, examination)
        if len(examination.problems) == before:
            constraint(checked, location, examination)
        return checked

    return check_with_constraint


def type_check(type_: Type) -> Check:
    """The check for a type."""
    match type_:
        case Plain(kind):
            return _PLAIN_CHECKS[kind]
        case ListOf(items) | IteratorOf(items):
            return _list_check(type_check(items))
        case DictOf(values):
            return _dict_check(type_check(values))
        case OptionalOf(inner):
            return _optional_check(type_check(inner))
        case UnionOf(members):
            return _union_check(members)
        case EnumOf(_, allowed):
            return _enum_check(allowed)
        case ModelOf():
            return _model_check(type_.fields)


class FieldsCheck:
    """Checks a mapping with known fields.

    Args:
        fields: What is known.
    """

    def __init__(self, fields: tuple[Field, ...]) -> None:
        self._checks = {field.name: field_check(field) for field in fields}
        self._required = tuple(field.name for field in fields if field.required)

    def __call__(self, values: Mapping[str, Any], location: Pointer, examination: Examination) -> tuple[dict[str, Any], list[str]]:
        """The checked values of known fields, in the order given, and the names that are not known."""
        checks = self._checks
        checked = {}
        unknown = []
        for name, value in values.items():
            check = checks.get(name)
            if check is None:
                unknown.append(name)
            else:
                checked[name] = check(value, (*location, name), examination)
        for name in self._required:
            if name not in values:
                examination.refuse((*location, name), "missing", "Field required")
        return checked, unknown


def _coercing_check(exact: type, coerce: Callable[[Any], Any]) -> Check:
    def check(value: Any, location: Pointer, examination: Examination) -> Any:
        if type(value) is exact:
            return value
        try:
            return coerce(value)
        except ValueError as error:
            return examination.refuse(location, "type", str(error))

    return check


def _check_number(value: Any, location: Pointer, examination: Examination) -> Any:
    try:
        return coercion.to_number(value)
    except ValueError as error:
        examination.refuse(location, "type", str(error))


def _check_null(value: Any, location: Pointer, examination: Examination) -> Any:
    if value is not None:
        examination.refuse(location, "type", f"must be null, not {coercion.describe(value)}")


def check_any(value: Any, location: Pointer, examination: Examination) -> Any:
    """Take every JSON value that a worker can read. A file of this machine becomes its path, for untyped code that opens it."""
    if type(value) not in _CONTAINERS:
        return _FILE_CHECK(value, location, examination) if isinstance(value, LocalFile) else value
    if isinstance(value, list) and LocalFile in set(map(type, value)):
        return [check_any(item, (*location, index), examination) for index, item in enumerate(value)]
    _check_depth(value, location, examination)
    return value


def _check_depth(value: Any, location: Pointer, examination: Examination) -> None:
    level = [value]
    for _ in range(_MOST_LEVELS):
        if _CONTAINERS.isdisjoint(map(type, _items_of(level))):  # many times faster than to look at each
            return
        level = [item for item in _items_of(level) if type(item) in _CONTAINERS]
    examination.refuse(location, "depth", f"is nested more than {_MOST_LEVELS} levels deep")


def _items_of(containers: list[Any]) -> Iterator[Any]:
    return chain.from_iterable([each.values() if type(each) is dict else each for each in containers])


def _check_object(value: Any, location: Pointer, examination: Examination) -> Any:
    if not isinstance(value, dict):
        return examination.refuse(location, "type", f"must be an object, not {coercion.describe(value)}")
    _check_depth(value, location, examination)
    return value


def _check_secret(value: Any, location: Pointer, examination: Examination) -> Any:
    examination.secrets.append(location)
    try:
        return coercion.to_string(value)
    except ValueError:
        return examination.refuse(location, "type", "must be a string")  # and never shows what it was


def _file_check(kind: Kind) -> Check:
    def check(value: Any, location: Pointer, examination: Examination) -> Any:
        is_local = False
        if isinstance(value, LocalFile):
            value, is_local = value.path, True
        elif not isinstance(value, str):
            return examination.refuse(location, "type", f"must be the URL of a file, not {coercion.describe(value)}")
        elif not value[:8].lower().startswith(("http://", "https://", "data:")):
            if not examination.local_files or not value:
                wanted = "an http:, https: or data: URL"
                return examination.refuse(location, "url", f"must be {wanted}, not {coercion.describe(value)}")
            value, is_local = value.removeprefix("@"), True  # Cog marks a file so, in JSON inputs too
        examination.files.append(FilePlace(pointer=location, kind=kind, value=value, is_local=is_local))
        return value

    return check


_FILE_CHECK = _file_check(Kind.PATH)

_PLAIN_CHECKS: Mapping[Kind, Check] = {
    Kind.STRING: _coercing_check(str, coercion.to_string),
    Kind.INTEGER: _coercing_check(int, coercion.to_integer),
    Kind.NUMBER: _check_number,
    Kind.BOOLEAN: _coercing_check(bool, coercion.to_boolean),
    Kind.NULL: _check_null,
    Kind.ANY: check_any,
    Kind.OBJECT: _check_object,
    Kind.PATH: _FILE_CHECK,
    Kind.FILE: _file_check(Kind.FILE),
    Kind.SECRET: _check_secret,
}


def _list_check(check_item: Check) -> Check:
    def check(value: Any, location: Pointer, examination: Examination) -> Any:
        if not isinstance(value, list):
            return examination.refuse(location, "type", f"must be a list, not {coercion.describe(value)}")
        return [check_item(item, (*location, index), examination) for index, item in enumerate(value)]

    return check


def _dict_check(check_value: Check) -> Check:
    def check(value: Any, location: Pointer, examination: Examination) -> Any:
        if not isinstance(value, dict):
            return examination.refuse(location, "type", f"must be an object, not {coercion.describe(value)}")
        return {key: check_value(item, (*location, key), examination) for key, item in value.items()}

    return check


def _optional_check(check_inner: Check) -> Check:
    def check(value: Any, location: Pointer, examination: Examination) -> Any:
        return None if value is None else check_inner(value, location, examination)

    return check


def _model_check(fields: tuple[Field, ...]) -> Check:
    check_fields = FieldsCheck(fields)

    def check(value: Any, location: Pointer, examination: Examination) -> Any:
        if not isinstance(value, dict):
            return examination.refuse(location, "type", f"must be an object, not {coercion.describe(value)}")
        checked, unknown = check_fields(value, location, examination)
        # Whether the others are welcome is the author's class's affair.
        return checked | {name: check_any(value[name], (*location, name), examination) for name in unknown}

    return check


def _enum_check(allowed: tuple[Any, ...]) -> Check:
    exact = {(type(value), value): value for value in allowed}
    coercions = dict.fromkeys(_SCALARS[type(value)] for value in allowed if type(value) in _SCALARS)
    listed = coercion.list_choices(allowed)

    def check(value: Any, location: Pointer, examination: Examination) -> Any:
        if isinstance(value, str | int | float):
            if (type(value), value) in exact:
                return value
            for coerce in coercions:
                try:
                    candidate = coerce(value)
                except ValueError:
                    continue
                if (type(candidate), candidate) in exact:
                    return candidate
        return examination.refuse(location, "choice", f"must be one of {listed}")

    return check


_SCALARS: Mapping[type, Callable[[Any], Any]] = {
    str: coercion.to_string,
    int: coercion.to_integer,
    float: coercion.to_number,
    bool: coercion.to_boolean,
}


def _union_check(members: tuple[Type, ...]) -> Check:
    """The member that fits as it is wins over one that fits after coercion; among equals, the one written first."""
    candidates = [(_distance(member), type_check(member)) for member in members]
    wanted = " or ".join(_name(member) for member in members)
    may_show = not any(holds(member, SECRET_KINDS) for member in members)

    def check(value: Any, location: Pointer, examination: Examination) -> Any:
        ranked = sorted(((distance(value), candidate) for distance, candidate in candidates), key=lambda pair: pair[0])
        for _, candidate in ranked:
            fits, checked = examination.attempt(candidate, value, location)
            if fits:
                return checked
        if [distance for distance, _ in ranked].count(0) == 1:
            return ranked[0][1](value, location, examination)  # this one was meant; say what is wrong inside
        given = f", not {coercion.describe(value)}" if may_show else ""
        return examination.refuse(location, "type", f"must be {wanted}{given}")

    return check


_JSON_TYPES: Mapping[Kind, tuple[type, ...]] = {
    Kind.STRING: (str,),
    Kind.INTEGER: (int,),
    Kind.NUMBER: (float,),
    Kind.BOOLEAN: (bool,),
    Kind.NULL: (type(None),),
    Kind.ANY: (str, int, float, bool, list, dict),
    Kind.OBJECT: (dict,),
    Kind.PATH: (str, LocalFile),
    Kind.FILE: (str, LocalFile),
    Kind.SECRET: (str,),
}


def _distance(member: Type) -> Callable[[Any], int]:
    """How far a value is from a type: 0 as it is, 1 an integer for a number, 2 needs to be made into one."""
    match member:
        case Plain(kind):
            exact = _JSON_TYPES[kind]
        case ListOf() | IteratorOf():
            exact = (list,)
        case DictOf() | ModelOf():
            exact = (dict,)
        case EnumOf(_, allowed):
            return lambda value: 0 if any(type(value) is type(one) and value == one for one in allowed) else 2
        case _:
            exact = ()
    widened = int if member == Plain(Kind.NUMBER) else None
    return lambda value: 0 if type(value) in exact else 1 if type(value) is widened else 2


def _name(type_: Type) -> str:
    match type_:
        case Plain(kind):
            return {Kind.INTEGER: "an integer", Kind.ANY: "anything", Kind.OBJECT: "an object"}.get(kind, f"a {kind.value}")
        case ListOf() | IteratorOf():
            return "a list"
        case EnumOf(_, allowed):
            return f"one of {coercion.list_choices(allowed)}"
        case _:
            return "an object"
