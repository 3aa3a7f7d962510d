"""From one JSON scalar to another without loss: what Cog's pydantic accepted, as far as nothing is guessed or cut.

Each function returns the value, or raises ``ValueError`` with the rest of a sentence that begins with what the value belongs to.
"""

from __future__ import annotations

import math
import re
from typing import Any

_INTEGRAL = re.compile(r"\s*([+-]?\d+)\.0*\s*")

#: Above this a float no longer tells neighbouring integers apart.
_EXACT_INTEGERS = 2**53

_BOOLEAN_WORDS = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}


def to_string(value: Any) -> str:
    """Strings, and numbers as they are written. Not booleans: ``true`` could mean several texts."""
    if isinstance(value, str):
        return value
    if (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    raise ValueError(f"must be a string, not {describe(value)}")


def to_integer(value: Any) -> int:
    """Integers of any size, floats without a fraction, booleans as 0 and 1, and these written out."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT_INTEGERS:
        return int(value)
    if isinstance(value, str):
        try:
            return int(match[1] if (match := _INTEGRAL.fullmatch(value)) else value)
        except ValueError:
            pass
    raise ValueError(f"must be an integer, not {describe(value)}")


def to_number(value: Any) -> float:
    """Finite numbers, booleans as 0.0 and 1.0, and numbers written out."""
    if isinstance(value, int | float | str):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            pass
        else:
            if math.isfinite(number):
                return number
    raise ValueError(f"must be a finite number, not {describe(value)}")


def to_boolean(value: Any) -> bool:
    """Booleans, 0 and 1, and the usual words for yes and no."""
    if isinstance(value, str):
        value = _BOOLEAN_WORDS.get(value.strip().lower(), value)
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    raise ValueError(f"must be true or false, not {describe(value)}")


def describe(value: Any) -> str:
    """A few words for a value in a sentence about what is wrong with it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _shorten(str(value))
    if isinstance(value, str):
        return f"the string '{_shorten(value)}'"
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, dict) else str(value)


def list_choices(values: tuple[Any, ...]) -> str:
    """Allowed values as a sentence lists them."""
    return ", ".join(f"'{value}'" if isinstance(value, str) else str(value) for value in values)


def _shorten(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
