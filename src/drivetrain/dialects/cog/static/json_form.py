"""Constants as JSON, the same way the worker writes defaults, choices and enum values."""

from __future__ import annotations

import math
from pathlib import PurePosixPath
from typing import Any

from drivetrain.dialects.cog.static.operation import Member


class NotJson(ValueError):  # noqa: N818 (it says what a value is not)
    """A value has no JSON form."""


def json_form(value: Any) -> Any:
    """The JSON form of a constant; a path is its string.

    Raises:
        NotJson: It has none.
    """
    if isinstance(value, Member):
        return plain_value(value)
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, PurePosixPath):
        return str(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [json_form(item) for item in value]
    if isinstance(value, dict):
        return {str(key): json_form(item) for key, item in value.items()}
    raise NotJson


def plain_value(value: Any) -> Any:
    """How a literal or a member of an enumeration travels: by its value if JSON has it, else by its name."""
    if not isinstance(value, Member):
        return value
    return value.value if isinstance(value.value, str | int | float) else value.name
