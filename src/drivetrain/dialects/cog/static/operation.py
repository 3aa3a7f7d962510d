"""What may be computed with constants: values that stand for what is not known, harmless operators, functions and methods."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, Final

import msgspec


class Unresolved(Exception):  # noqa: N818 (not always an error: it is how evaluation says that it does not know)
    """The value cannot be told."""


class Member(msgspec.Struct, frozen=True):
    """A member of an enumeration."""

    name: str
    value: Any


class _Unknown:
    """Stands in a container for an item that cannot be told, since its neighbours and its key may matter alone."""


UNKNOWN: Final = _Unknown()

#: No constant that somebody wrote is longer than this; arithmetic on the way to one must not run away.
_LARGEST: Final = 1_000_000

#: Beyond this, a power is no constant that somebody meant.
_LARGEST_EXPONENT: Final = 4096

BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitOr: operator.or_,
    ast.LShift: operator.lshift,
}
UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
    ast.Invert: operator.invert,
}
COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, container: item in container,
    ast.NotIn: lambda item, container: item not in container,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **{f"builtins.{one.__name__}": one for one in (set, frozenset, int, float, bool, min, max, sum, abs, round, sorted)},
    "builtins.str": lambda value="": as_text(value),
    "builtins.range": lambda *bounds: _short(range(*bounds)),
    **dict.fromkeys(("cog.Path", "cog.types.Path", "pathlib.Path", "pathlib.PurePath", "pathlib.PosixPath"), PurePosixPath),
    "os.path.join": lambda *parts: str(PurePosixPath(*parts)),
}
#: These only hand items on, and so take items that cannot be told.
CONTAINER_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    f"builtins.{one.__name__}": one for one in (list, tuple, dict, len, zip, enumerate, reversed)
}
METHODS: Mapping[type, frozenset[str]] = {
    dict: frozenset(("keys", "values", "items", "get", "copy")),
    list: frozenset(("copy", "index", "count")),
    tuple: frozenset(("index", "count")),
    str: frozenset(("capitalize", "format", "join", "lower", "lstrip", "removeprefix", "removesuffix", "replace"))
    | frozenset(("rstrip", "split", "strip", "title", "upper")),
    set: frozenset(("union", "difference", "intersection", "copy")),
    PurePosixPath: frozenset(("as_posix", "joinpath", "with_suffix", "with_name")),
}
ATTRIBUTES: Mapping[type, frozenset[str]] = {
    Member: frozenset(("name", "value")),
    PurePosixPath: frozenset(("name", "stem", "suffix", "parent")),
}


def combine(operation: ast.operator, left: Any, right: Any) -> Any:
    """Apply a binary operator.

    Raises:
        OverflowError: The result would be larger than any constant that somebody wrote.
    """
    if isinstance(operation, ast.Pow | ast.LShift) and isinstance(right, int) and abs(right) > _LARGEST_EXPONENT:
        raise OverflowError
    if isinstance(operation, ast.Mult):
        for sequence, times in ((left, right), (right, left)):
            if isinstance(sequence, str | list | tuple) and len(sequence) * times > _LARGEST:
                raise OverflowError
    return BINARY[type(operation)](left, right)


def as_text(value: Any) -> str:
    """What ``str()`` makes of a value.

    Raises:
        Unresolved: That is its class's affair, as for members of enumerations, or it is not known in full.
    """
    if value is None or isinstance(value, str | int | float | PurePosixPath):
        return str(value)
    raise Unresolved(str(value))


def plain(value: Any) -> Any:
    """Iterators and views as lists."""
    known = (str, int, float, list, tuple, set, frozenset, dict, Member, PurePosixPath, _Unknown)
    return value if value is None or isinstance(value, known) else list(value)


def _short(numbers: range) -> range:
    if len(numbers) > _LARGEST:
        raise OverflowError
    return numbers


def has_unknown(value: Any) -> bool:
    """Whether something in a value cannot be told."""
    if isinstance(value, dict):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return any(has_unknown(item) for item in value)
    return value is UNKNOWN or (isinstance(value, Member) and value.value is UNKNOWN)
