"""The value of an expression, as far as it can be told without running the program.

Understood is what people write as defaults and choices: literals, constants of any module of the project, attributes of classes,
members of enums, operators, f-strings, comprehensions, and calls of a few harmless functions and methods.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from drivetrain.dialects.cog.static.operation import (
    ATTRIBUTES,
    COMPARE,
    CONTAINER_FUNCTIONS,
    FUNCTIONS,
    METHODS,
    UNARY,
    UNKNOWN,
    Member,
    Unresolved,
    as_text,
    combine,
    has_unknown,
    plain,
)
from drivetrain.dialects.cog.static.scope import Assigned, Callee, Class, External, Scope


def evaluate(expression: ast.expr, scope: Scope) -> Any:
    """The value of an expression.

    Raises:
        Unresolved: It, or something in it, cannot be told.
    """
    value = evaluate_partly(expression, scope)
    if has_unknown(value):
        raise Unresolved(ast.unparse(expression))
    return value


def evaluate_partly(expression: ast.expr, scope: Scope) -> Any:
    """The value of an expression; items in it that cannot be told are ``UNKNOWN``.

    Raises:
        Unresolved: Not even that can be told.
    """
    try:
        return _evaluate(expression, scope)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise Unresolved(ast.unparse(expression)) from error


def returned(call: ast.Call, scope: Scope) -> tuple[ast.expr, Scope] | None:
    """The expression that a call of a project's function returns, with the scope in which its parameters have their values.

    ``None`` if the function is not the project's, or does more than return something.
    """
    callee = scope.resolve(call.func)
    if not isinstance(callee, Callee) or any(keyword.arg is None for keyword in call.keywords):
        return None
    statements = [one for one in callee.node.body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
    match statements:
        case [ast.Return(value=ast.expr() as value)]:
            return value, callee.scope.with_values(_arguments(callee, call, scope))
        case _:
            return None


def enum_members(class_: Class) -> list[Member] | None:
    """The members of an enumeration, aliases left out; ``None`` if the class is none."""
    lineage = class_.scope.lineage(class_)
    bases = [base.name for base in lineage if isinstance(base, External)]
    if not any(base.startswith("enum.") for base in bases):
        return None
    members: list[Member] = []
    for one in reversed([base for base in lineage if isinstance(base, Class)]):
        for name, value in _assignments(one.node):
            if isinstance(value, ast.Call) and one.body.external_name(value.func) == "enum.auto":
                given: Any = name.lower() if "enum.StrEnum" in bases else _next_number(members)
            else:
                given = _or_unknown(value, one.body)
            if given is UNKNOWN or given not in [member.value for member in members]:
                members.append(Member(name, given))
    return members


def _next_number(members: list[Member]) -> int:
    return 1 + max((member.value for member in members if isinstance(member.value, int)), default=0)


def _assignments(class_: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    for statement in class_.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if not name.startswith("_"):
                yield name, value


def _evaluate(node: ast.expr, scope: Scope) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name() | ast.Attribute():
            return _evaluate_name(node, scope)
        case ast.List(elts=items):
            return _items(items, scope)
        case ast.Tuple(elts=items):
            return tuple(_items(items, scope))
        case ast.Set(elts=items):
            return {_known(item, scope) for item in items}
        case ast.Dict():
            return _evaluate_dict(node, scope)
        case ast.BinOp(left=left, op=operation, right=right):
            return combine(operation, _known(left, scope), _known(right, scope))
        case ast.UnaryOp(op=operation, operand=operand):
            return UNARY[type(operation)](_known(operand, scope))
        case ast.BoolOp(op=ast.And(), values=operands):
            return _first(operands, scope, wanted=False)
        case ast.BoolOp(values=operands):
            return _first(operands, scope, wanted=True)
        case ast.Compare(left=left, ops=[operation], comparators=[right]):
            return COMPARE[type(operation)](_known(left, scope), _known(right, scope))
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _evaluate(body if _known(test, scope) else orelse, scope)
        case ast.JoinedStr(values=parts):
            return "".join(_part(part, scope) for part in parts)
        case ast.Subscript(value=value, slice=index):
            return _evaluate(value, scope)[_known(index, scope)]
        case ast.Slice(lower=lower, upper=upper, step=step):
            return slice(*(None if bound is None else _known(bound, scope) for bound in (lower, upper, step)))
        case ast.ListComp(elt=element, generators=generators) | ast.GeneratorExp(elt=element, generators=generators):
            return [_or_unknown(element, inner) for inner in _iterate(generators, scope)]
        case ast.SetComp(elt=element, generators=generators):
            return {_known(element, inner) for inner in _iterate(generators, scope)}
        case ast.DictComp(key=key, value=value, generators=generators):
            return {_known(key, inner): _or_unknown(value, inner) for inner in _iterate(generators, scope)}
        case ast.Call():
            return _call(node, scope)
    raise Unresolved(ast.unparse(node))


def _known(node: ast.expr, scope: Scope) -> Any:
    value = _evaluate(node, scope)
    if value is UNKNOWN:
        raise Unresolved(ast.unparse(node))
    return value


def _or_unknown(node: ast.expr, scope: Scope) -> Any:
    try:
        return evaluate_partly(node, scope)
    except Unresolved:
        return UNKNOWN


def _evaluate_name(node: ast.Name | ast.Attribute, scope: Scope) -> Any:
    if isinstance(node, ast.Name) and node.id in scope.values:
        return scope.values[node.id]
    meaning = scope.look_up(node)
    if isinstance(meaning, Assigned):
        owner = scope.resolve(node.value) if isinstance(node, ast.Attribute) else None
        for member in (enum_members(owner) if isinstance(owner, Class) else None) or ():
            if isinstance(node, ast.Attribute) and member.name == node.attr:
                return member
        return _evaluate(meaning.node, meaning.scope)
    if isinstance(meaning, Class) and (members := enum_members(meaning)) is not None:
        return members
    if isinstance(node, ast.Attribute) and meaning is None:
        value = _known(node.value, scope)
        if node.attr in ATTRIBUTES.get(type(value), ()):
            return getattr(value, node.attr)
    raise Unresolved(ast.unparse(node))


def _items(nodes: list[ast.expr], scope: Scope) -> list[Any]:
    items: list[Any] = []
    for node in nodes:
        if isinstance(node, ast.Starred):
            items.extend(_known(node.value, scope))
        else:
            items.append(_or_unknown(node, scope))
    return items


def _evaluate_dict(node: ast.Dict, scope: Scope) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            result.update(_known(value, scope))
        else:
            result[_known(key, scope)] = _or_unknown(value, scope)
    return result


def _first(operands: list[ast.expr], scope: Scope, *, wanted: bool) -> Any:
    for operand in operands[:-1]:
        value = _known(operand, scope)
        if bool(value) is wanted:
            return value
    return _evaluate(operands[-1], scope)


def _part(node: ast.expr, scope: Scope) -> str:
    match node:
        case ast.FormattedValue(value=value, conversion=conversion, format_spec=spec):
            text = _known(value, scope)
            text = repr(text) if conversion == ord("r") else as_text(text) if spec is None or conversion == ord("s") else text
            return text if spec is None else format(text, _evaluate(spec, scope))
        case _:
            return str(_known(node, scope))


def _iterate(generators: list[ast.comprehension], scope: Scope) -> Iterator[Scope]:
    if not generators:
        yield scope
        return
    first, *others = generators
    for item in _known(first.iter, scope):
        inner = scope.with_values(_unpack(first.target, item))
        if all(_known(condition, inner) for condition in first.ifs):
            yield from _iterate(others, inner)


def _unpack(target: ast.expr, value: Any) -> dict[str, Any]:
    match target:
        case ast.Name(id=name):
            return {name: value}
        case ast.Tuple(elts=targets) | ast.List(elts=targets):
            found: dict[str, Any] = {}
            for inner, item in zip(targets, value, strict=True):
                found |= _unpack(inner, item)
            return found
        case _:
            raise Unresolved(ast.unparse(target))


def _call(node: ast.Call, scope: Scope) -> Any:
    name = scope.external_name(node.func)
    if name in CONTAINER_FUNCTIONS:
        return plain(CONTAINER_FUNCTIONS[name](*_items(node.args, scope), **_keywords(node, scope)))
    if name in FUNCTIONS:
        return plain(FUNCTIONS[name](*_known_arguments(node, scope), **_keywords(node, scope)))
    if (expression := returned(node, scope)) is not None:
        return _evaluate(*expression)
    if isinstance(node.func, ast.Attribute):
        receiver = _known(node.func.value, scope)
        if node.func.attr in METHODS.get(type(receiver), ()):
            return plain(getattr(receiver, node.func.attr)(*_known_arguments(node, scope), **_keywords(node, scope)))
    raise Unresolved(ast.unparse(node))


def _known_arguments(node: ast.Call, scope: Scope) -> list[Any]:
    arguments = _items(node.args, scope)
    if has_unknown(arguments):
        raise Unresolved(ast.unparse(node))
    return arguments


def _keywords(node: ast.Call, scope: Scope) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            found.update(_known(keyword.value, scope))
        else:
            found[keyword.arg] = _known(keyword.value, scope)
    return found


def _arguments(callee: Callee, call: ast.Call, scope: Scope) -> dict[str, Any]:
    """What the parameters of a function stand for in a call; ``UNKNOWN`` where that cannot be told."""
    parameters = callee.node.args
    names = [one.arg for one in (*parameters.posonlyargs, *parameters.args)]
    if any(isinstance(one, ast.Name) and one.id == "classmethod" for one in callee.node.decorator_list):
        names = names[1:]
    values = dict.fromkeys((*names, *(one.arg for one in parameters.kwonlyargs)), UNKNOWN)
    defaults = [*zip(reversed(names), reversed(parameters.defaults), strict=False), *_keyword_defaults(parameters)]
    given = [*zip(names, call.args, strict=False), *((keyword.arg, keyword.value) for keyword in call.keywords if keyword.arg)]
    values |= {name: _or_unknown(default, callee.scope) for name, default in defaults}
    values |= {name: _or_unknown(argument, scope) for name, argument in given}
    return values


def _keyword_defaults(parameters: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    for parameter, default in zip(parameters.kwonlyargs, parameters.kw_defaults, strict=True):
        if default is not None:
            yield parameter.arg, default
