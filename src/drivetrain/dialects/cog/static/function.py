"""A function as a signature: its parameters, what it returns, and what its decorators say."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from drivetrain.dialects.cog.static.annotation import AnnotationReader
from drivetrain.dialects.cog.static.constant import evaluate
from drivetrain.dialects.cog.static.entry_point import EntryPoint
from drivetrain.dialects.cog.static.operation import Unresolved
from drivetrain.dialects.cog.static.parameter import read_parameters
from drivetrain.dialects.cog.static.scope import Callee, Scope
from drivetrain.dialects.cog.static.source import Function
from drivetrain.model.signature import Signature


def read_function(entry_point: EntryPoint, reader: AnnotationReader) -> Signature:
    """The signature; what could not be told is in the reader's notes."""
    function, scope = entry_point.function.node, entry_point.function.scope
    yields = any(isinstance(node, ast.Yield | ast.YieldFrom) for node in _own_nodes(function))
    inputs = tuple(read_parameters(function, scope, reader, bound=entry_point.bound))
    output = reader.read_output(function.returns, scope, yields=yields)
    _doubt_decorators(function, scope, reader)
    return Signature(
        inputs=inputs,
        output=output,
        accepts_extra=function.args.kwarg is not None,
        is_async=isinstance(function, ast.AsyncFunctionDef),
        streaming=any(name == "cog.streaming" for name, _ in _decorators(function, scope)),
        concurrency=_concurrency(function, scope),
        notes=tuple(reader.notes),
    )


def _own_nodes(function: Function) -> Iterator[ast.AST]:
    """Everything in a function's body, but not in functions and classes inside it."""
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            pending.extend(ast.iter_child_nodes(node))


def _decorators(function: Function, scope: Scope) -> Iterator[tuple[str, ast.expr]]:
    for decorator in function.decorator_list:
        yield scope.external_name(decorator.func if isinstance(decorator, ast.Call) else decorator), decorator


def _concurrency(function: Function, scope: Scope) -> int | None:
    for name, decorator in _decorators(function, scope):
        if name == "cog.concurrent":
            return _max_of(decorator, scope)
    return None


def _max_of(decorator: ast.expr, scope: Scope) -> int:
    given = {keyword.arg: keyword.value for keyword in decorator.keywords} if isinstance(decorator, ast.Call) else {}
    try:
        value = evaluate(given["max"], scope)
    except (KeyError, Unresolved):
        return 1
    return value if isinstance(value, int) else 1


def _doubt_decorators(function: Function, scope: Scope, reader: AnnotationReader) -> None:
    """A decorator of the author's that wraps without ``functools.wraps`` hides the parameters that we have read."""
    for decorator in function.decorator_list:
        meaning = scope.resolve(decorator.func if isinstance(decorator, ast.Call) else decorator)
        if isinstance(meaning, Callee) and not _shows_what_it_wraps(meaning.node):
            reader.doubt(f"what '@{ast.unparse(decorator)}' makes of '{function.name}' cannot be told from the source")


def _shows_what_it_wraps(decorator: Function) -> bool:
    nodes = list(ast.walk(decorator))
    names = {node.id for node in nodes if isinstance(node, ast.Name)} | {
        node.attr for node in nodes if isinstance(node, ast.Attribute)
    }
    wraps_nothing = not any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in nodes if node is not decorator)
    return wraps_nothing or bool(names & {"wraps", "update_wrapper", "decorator"})
