"""What an author asked of an input beside its type: bounds, lengths, a regular expression, choices."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from drivetrain.model.coercion import list_choices
from drivetrain.model.errors import ProjectError
from drivetrain.model.examination import Check, Examination
from drivetrain.model.json_value import Pointer
from drivetrain.model.signature import FILE_KINDS, Field, ListOf, OptionalOf, Plain, Type


def constraint_check(field: Field) -> Check | None:
    """The check of a field's constraints, for values that fit its type; ``None`` if it has none.

    In a list they hold for each item, except lengths, which are those of the list.

    Raises:
        ProjectError: The author's regular expression is not one.
    """
    type_ = _without_null(field.type)
    if _is_file(type_):
        return None
    if isinstance(type_, ListOf):
        item_check = _all_of(_value_checks(field, _without_null(type_.items)))
        checks = [*_length_checks(field), *([_each(item_check)] if item_check else [])]
    else:
        checks = [*_length_checks(field), *_value_checks(field, type_)]
    return _all_of(checks)


def _without_null(type_: Type) -> Type:
    return type_.of if isinstance(type_, OptionalOf) else type_


def _is_file(type_: Type) -> bool:
    """Whether values are files; constraints would be asked of their URLs, which is not what the author meant."""
    return isinstance(type_, Plain) and type_.kind in FILE_KINDS


def _length_checks(field: Field) -> list[Check]:
    checks = []
    if (shortest := field.min_length) is not None:
        message = f"must have a length of at least {shortest}"
        checks.append(_refusing(lambda value: _has_length(value) and len(value) < shortest, "min_length", message))
    if (longest := field.max_length) is not None:
        message = f"must have a length of at most {longest}"
        checks.append(_refusing(lambda value: _has_length(value) and len(value) > longest, "max_length", message))
    return checks


def _value_checks(field: Field, type_: Type) -> list[Check]:
    if _is_file(type_):
        return []
    checks = []
    if choices := field.choices:
        message = f"must be one of {list_choices(choices)}"
        checks.append(_refusing(lambda value: value not in choices, "choice", message))
    if (least := field.ge) is not None:
        checks.append(
            _refusing(lambda value: _is_number(value) and value < least, "greater_than_equal", f"must be at least {least}")
        )
    if (most := field.le) is not None:
        checks.append(_refusing(lambda value: _is_number(value) and value > most, "less_than_equal", f"must be at most {most}"))
    if field.regex is not None:
        search = _compile(field.name, field.regex)
        message = f"must match the regular expression '{field.regex}'"
        checks.append(_refusing(lambda value: isinstance(value, str) and search(value) is None, "regex", message))
    return checks


def _refusing(is_wrong: Callable[[Any], bool], type_: str, message: str) -> Check:
    def check(value: Any, location: Pointer, examination: Examination) -> Any:
        if value is not None and is_wrong(value):
            examination.refuse(location, type_, message)

    return check


def _all_of(checks: list[Check]) -> Check | None:
    if len(checks) < 2:
        return checks[0] if checks else None

    def check_all(value: Any, location: Pointer, examination: Examination) -> Any:
        for check in checks:
            check(value, location, examination)

    return check_all


def _each(check: Check) -> Check:
    def check_each(value: Any, location: Pointer, examination: Examination) -> Any:
        for index, item in enumerate(value or ()):
            check(item, (*location, index), examination)

    return check_each


def _has_length(value: Any) -> bool:
    return isinstance(value, str | list | dict)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _compile(name: str, regex: str) -> Callable[[str], object]:
    # Search, not match: so did both generations of Cog, except with pydantic 1.
    try:
        return re.compile(regex).search
    except re.error as error:
        raise ProjectError(f"the regex of input '{name}' is not a regular expression: {error}") from error
