"""Annotations that are written as text, whether by quotes or by ``from __future__ import annotations``."""

from __future__ import annotations

import ast
import builtins
import sys
import typing
from collections import ChainMap
from typing import Any, Dict, Mapping

#: Generic on Pythons before 3.9 only by their names in typing.
_GENERIC_BUILTINS = {"dict", "frozenset", "list", "set", "tuple", "type"}

_UNION = "__union__"


class UnresolvedError(Exception):
    """A name in the text is not there when the program runs."""


def evaluate(text: str, names: Mapping[str, Any]) -> Any:
    """What the text of an annotation stands for.

    ``X | Y`` and ``list[X]`` are understood on Pythons that cannot evaluate them.

    Raises:
        UnresolvedError: It cannot be told, mostly because a name is imported for type checkers only.
    """
    try:
        return eval(text, {"__builtins__": builtins}, names)  # noqa: S307 (the author's own code)
    except TypeError:
        return _evaluate_modern(text, names)
    except Exception as error:
        raise UnresolvedError(str(error)) from error


def _evaluate_modern(text: str, names: Mapping[str, Any]) -> Any:
    substitutes: Dict[str, Any] = {_UNION: lambda left, right: typing.Union[left, right]}
    if sys.version_info < (3, 9):
        substitutes.update((name, getattr(typing, _titled(name))) for name in _GENERIC_BUILTINS)
    try:
        tree = ast.fix_missing_locations(_UnionCalls().visit(ast.parse(text, mode="eval")))
        scope = ChainMap(substitutes, names)  # type: ignore[arg-type] # it is only read
        return eval(compile(tree, "<annotation>", "eval"), {"__builtins__": builtins}, scope)  # noqa: S307 (the author's own code)
    except Exception as error:
        raise UnresolvedError(str(error)) from error


def _titled(name: str) -> str:
    return "FrozenSet" if name == "frozenset" else name.capitalize()


class _UnionCalls(ast.NodeTransformer):
    """Turns ``X | Y`` into a call."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """Replace one operator, innermost first."""
        self.generic_visit(node)
        if not isinstance(node.op, ast.BitOr):
            return node
        return ast.Call(func=ast.Name(id=_UNION, ctx=ast.Load()), args=[node.left, node.right], keywords=[])
