"""The parameters of a function as fields of the signature: annotations, defaults, and what ``Input(…)`` says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, Final

from drivetrain.dialects.cog.static.annotation import AnnotationReader, optional
from drivetrain.dialects.cog.static.constant import evaluate, returned
from drivetrain.dialects.cog.static.json_form import NotJson, json_form
from drivetrain.dialects.cog.static.operation import Unresolved
from drivetrain.dialects.cog.static.scope import Assigned, Scope
from drivetrain.dialects.cog.static.source import Function
from drivetrain.model.signature import NULL, Field, OptionalOf

_INPUT_CALLS: Final = frozenset(("cog.Input", "cog.types.Input", "cog.input.Input"))
_TOLD: Final = ("description", "ge", "le", "min_length", "max_length", "regex", "choices", "deprecated", "accept")
_LONGEST_CHAIN: Final = 16

#: Stands for a default that there is, but that cannot be told or is not JSON.
_SOME: Final = object()


def read_parameters(function: Function, scope: Scope, reader: AnnotationReader, *, bound: bool) -> Iterator[Field]:
    """The fields for the parameters that inputs are given to; ``bound`` says that the first one is ``self``."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    without_default = len(positional) - len(arguments.defaults)
    defaults = [*[None] * without_default, *arguments.defaults, *arguments.kw_defaults]
    parameters = list(zip([*positional, *arguments.kwonlyargs], defaults, strict=True))
    for parameter, default in parameters[1:] if bound and positional else parameters:
        if parameter not in arguments.posonlyargs:
            yield _read_parameter(parameter, default, scope, reader)


def _read_parameter(parameter: ast.arg, default: ast.expr | None, scope: Scope, reader: AnnotationReader) -> Field:
    type_ = reader.read(parameter.annotation, scope, place=f"input '{parameter.arg}'")
    told = _told_in_annotation(parameter.annotation, scope, reader) if parameter.annotation else {}
    if default is not None:
        told |= _told_by_default(default, scope, reader)
    value = told.pop("default", ...)
    if value is ... and (isinstance(type_, OptionalOf) or type_ == NULL):
        value = None
    return Field(
        name=parameter.arg,
        type=optional(type_) if value is None else type_,
        required=value is ...,
        default=None if value is ... or value is _SOME else value,
        **told,
    )


def _told_in_annotation(annotation: ast.expr, scope: Scope, reader: AnnotationReader) -> dict[str, Any]:
    match annotation:
        case ast.Subscript(value=base, slice=ast.Tuple(elts=[_, *marks])) if scope.external_name(base).endswith(".Annotated"):
            for mark in marks:
                if isinstance(mark, ast.Call) and scope.external_name(mark.func) in _INPUT_CALLS:
                    return _told_by_input(mark, scope, reader)
    return {}


def _told_by_default(default: ast.expr, scope: Scope, reader: AnnotationReader) -> dict[str, Any]:
    call = _input_call(default, scope)
    if call is not None:
        return _told_by_input(*call, reader)
    return {"default": _default(default, scope, reader)}


def _input_call(expression: ast.expr, scope: Scope) -> tuple[ast.Call, Scope] | None:
    """The ``Input(…)`` that an expression comes down to, by way of attributes, constants and functions that return it."""
    for _ in range(_LONGEST_CHAIN):
        if isinstance(expression, ast.Call):
            if scope.external_name(expression.func) in _INPUT_CALLS:
                return expression, scope
            following = returned(expression, scope)
        else:
            meaning = scope.resolve(expression)
            following = (meaning.node, meaning.scope) if isinstance(meaning, Assigned) else None
        if following is None:
            return None
        expression, scope = following
    return None


def _told_by_input(call: ast.Call, scope: Scope, reader: AnnotationReader) -> dict[str, Any]:
    given = {"default": call.args[0]} if call.args else {}
    told: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is not None:
            given[keyword.arg] = keyword.value
            continue
        try:
            told |= evaluate(keyword.value, scope)
        except (Unresolved, TypeError):
            reader.doubt(f"'{ast.unparse(keyword)}' cannot be told from the source")
    if "default" in given:
        told["default"] = _default(given["default"], scope, reader)
    for name in _TOLD:
        if name in given:
            try:
                told[name] = evaluate(given[name], scope)
            except Unresolved as error:
                reader.doubt(f"'{name}' cannot be told from the source ('{error}')")
    return _as_field(told, reader)


def _as_field(told: dict[str, Any], reader: AnnotationReader) -> dict[str, Any]:
    """What ``Field`` takes; what is not JSON is left out, as the worker leaves it out."""
    found: dict[str, Any] = {}
    for name, value in told.items():
        if value is ... or value is _SOME:
            found[name] = value
        elif (name == "default" or value is not None) and name in ("default", *_TOLD):
            try:
                found[name] = tuple(json_form(list(value))) if name == "choices" else json_form(value)
            except (NotJson, TypeError):
                reader.doubt(f"'{name}' has a value that JSON has not")
    return found


def _default(expression: ast.expr, scope: Scope, reader: AnnotationReader) -> Any:
    try:
        value = evaluate(expression, scope)
        return ... if value is ... else json_form(value)
    except Unresolved:
        reader.doubt(f"the default '{ast.unparse(expression)}' cannot be told from the source")
    except NotJson:
        pass  # the code has its default, and nobody else needs it
    return _SOME
