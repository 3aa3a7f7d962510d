"""Places inside JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

#: Keys and indexes that lead from a JSON value to a place inside it; empty for the value itself.
Pointer: TypeAlias = tuple[str | int, ...]


def weigh(value: Any) -> int:
    """About how many bytes of memory a JSON value takes: the characters of its texts, and a little for everything else."""
    weight = 0
    left = [value]
    while left:
        item = left.pop()
        weight += 50
        if isinstance(item, str):
            weight += len(item)
        elif isinstance(item, dict):
            weight += sum(map(len, item))
            left += item.values()
        elif isinstance(item, list):
            left += item
    return weight


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
