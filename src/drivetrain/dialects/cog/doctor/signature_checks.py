"""Do the entry points say what they take and give, in words that every release of Cog understands?"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from drivetrain.dialects.cog.doctor.case import Case
from drivetrain.dialects.cog.doctor.diagnosis import Diagnosis
from drivetrain.dialects.cog.doctor.python_edits import make_optional
from drivetrain.dialects.cog.static.annotation import AnnotationReader
from drivetrain.dialects.cog.static.entry_point import EntryPoint
from drivetrain.dialects.cog.static.scope import Callee
from drivetrain.model.finding import Severity
from drivetrain.model.signature import ANY, NULL, SECRET, OptionalOf

#: Types of results that have no JSON form.
_NO_JSON = {
    "builtins.bytes": "write it to a file and return its 'cog.Path', or decode it",
    "builtins.bytearray": "write it to a file and return its 'cog.Path', or decode it",
    "builtins.memoryview": "write it to a file and return its 'cog.Path', or decode it",
    "PIL.Image": "save the picture and return the 'cog.Path' of the file",
    "PIL.Image.Image": "save the picture and return the 'cog.Path' of the file",
    "pandas.DataFrame": "return 'frame.to_dict(\"records\")', or write a file and return its 'cog.Path'",
    "matplotlib.figure.Figure": "save it with 'savefig' and return the 'cog.Path' of the file",
}

_INPUTS = frozenset({"cog.Input", "cog.types.Input", "cog.input.Input"})

_ANNOTATE = "annotate it; Cog refuses what has no annotation"

_MUTATING = frozenset({"append", "extend", "insert", "remove", "pop", "clear", "update", "setdefault", "add", "discard", "sort"})


def missing_annotations(case: Case) -> Iterator[Diagnosis]:
    """Inputs and results of no known type."""
    for entry_point in case.entry_points:
        function = entry_point.function
        for parameter, _ in _parameters(entry_point):
            if parameter.annotation is None:
                yield _warning(function, f"'{parameter.arg}' has no type: any value is let through", _ANNOTATE, parameter.lineno)
        if function.node.returns is None:
            yield _warning(function, f"'{function.node.name}' does not say what it returns", _ANNOTATE)


def optional_inputs(case: Case) -> Iterator[Diagnosis]:
    """``x: int = Input(default=None)``, which the generations of Cog read differently."""
    for entry_point in case.entry_points:
        function = entry_point.function
        for parameter, default in _parameters(entry_point):
            annotation = parameter.annotation
            if annotation is None or not _is_input_of_none(function, default) or _may_be_none(function, annotation):
                continue
            source = case.source(function.scope.source.path)
            yield Diagnosis(
                severity=Severity.WARNING,
                problem=f"'{parameter.arg}' may be left out here; Cog 0.17 and later demand it, since its type is not Optional",
                remedy=f"write '{parameter.arg}: Optional[{_shown(annotation)}]'",
                file=function.scope.source.path,
                line=parameter.lineno,
                edits=make_optional(source, annotation) if source is not None else (),
            )


def output_types(case: Case) -> Iterator[Diagnosis]:
    """Results that cannot be handed over."""
    for entry_point in case.entry_points:
        function = entry_point.function
        for node in _names_in(function.node.returns):
            if (remedy := _NO_JSON.get(function.scope.external_name(node))) is not None:
                problem = f"'{function.node.name}' returns '{ast.unparse(node)}', which has no JSON form: predictions will fail"
                yield _warning(function, problem, remedy)


def mutable_defaults(case: Case) -> Iterator[Diagnosis]:
    """A default that the code changes, so that the next prediction begins with what this one has left."""
    for entry_point in case.entry_points:
        function = entry_point.function
        for parameter, default in _parameters(entry_point):
            if _is_mutable(function, default) and (line := _line_of_change(function.node, parameter.arg)):
                problem = f"the default of '{parameter.arg}' is changed here, and is the same object for every prediction"
                yield _warning(function, problem, f"work on a copy: '{parameter.arg} = {parameter.arg}.copy()'", line)


def _shown(annotation: ast.expr) -> str:
    return ast.unparse(annotation).replace("'", '"')


def _parameters(entry_point: EntryPoint) -> list[tuple[ast.arg, ast.expr | None]]:
    """The parameters that inputs are given to, with their defaults."""
    arguments = entry_point.function.node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [*[None] * (len(positional) - len(arguments.defaults)), *arguments.defaults, *arguments.kw_defaults]
    parameters = list(zip([*positional, *arguments.kwonlyargs], defaults, strict=True))
    return parameters[1:] if entry_point.bound and positional else parameters


def _warning(function: Callee, problem: str, remedy: str, line: int | None = None) -> Diagnosis:
    return Diagnosis(
        severity=Severity.WARNING,
        problem=problem,
        remedy=remedy,
        file=function.scope.source.path,
        line=line or function.node.lineno,
    )


def _default_of(function: Callee, default: ast.expr | None) -> ast.expr | None:
    """A parameter's default, also where ``Input`` is told it."""
    if not isinstance(default, ast.Call) or function.scope.external_name(default.func) not in _INPUTS:
        return default
    named = (keyword.value for keyword in default.keywords if keyword.arg == "default")
    return default.args[0] if default.args else next(named, None)


def _is_input_of_none(function: Callee, default: ast.expr | None) -> bool:
    value = _default_of(function, default)
    return isinstance(default, ast.Call) and isinstance(value, ast.Constant) and value.value is None


def _may_be_none(function: Callee, annotation: ast.expr) -> bool:
    type_ = AnnotationReader().read(annotation, function.scope, place="")
    return isinstance(type_, OptionalOf) or type_ in (ANY, NULL, SECRET)  # Cog takes secrets for optional


def _names_in(annotation: ast.expr | None) -> Iterator[ast.expr]:
    """The names in an annotation, also where it is written as text; the longest dotted one alone."""
    match annotation:
        case None:
            return
        case ast.Name() | ast.Attribute():
            yield annotation
        case ast.Constant(value=str(text)):
            try:
                yield from _names_in(ast.parse(text, mode="eval").body)
            except SyntaxError:
                return
        case _:
            for child in ast.iter_child_nodes(annotation):
                if isinstance(child, ast.expr):
                    yield from _names_in(child)


def _is_mutable(function: Callee, default: ast.expr | None) -> bool:
    return isinstance(_default_of(function, default), ast.List | ast.Dict | ast.Set)


def _line_of_change(function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> int | None:
    """Where a function changes the object that a parameter was given; nothing if the name stands for another one by then."""
    nodes = [node for statement in function.body for node in ast.walk(statement)]
    if any(isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store) for node in nodes):
        return None
    for node in nodes:
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=method)) if owner == name and method in _MUTATING:
                return node.lineno
            case ast.Subscript(value=ast.Name(id=owner), ctx=ast.Store() | ast.Del()) if owner == name:
                return node.lineno
    return None
