"""Places inside JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

#: Keys and indexes that lead from a JSON value to a place inside it; empty for the value itself.
Pointer: TypeAlias = tuple[str | int, ...]


def put_in(value: Any, replacements: Mapping[Pointer, Any]) -> Any:
    """A copy of a JSON value with other values at some places.

    Args:
        value: A JSON value.
        replacements: The new values by place. A place inside another one's is not allowed.
    """
    if () in replacements:
        return replacements[()]
    below: dict[str | int, dict[Pointer, Any]] = {}
    for (head, *rest), replacement in replacements.items():
        below.setdefault(head, {})[tuple(rest)] = replacement
    if isinstance(value, list):
        return [put_in(item, below[index]) if index in below else item for index, item in enumerate(value)]
    return {key: put_in(item, below[key]) if key in below else item for key, item in value.items()}
