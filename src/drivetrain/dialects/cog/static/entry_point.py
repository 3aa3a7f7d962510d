"""Find the function that runs predictions, or trainings, in a source file."""

from __future__ import annotations

import ast
from collections.abc import Iterable

import msgspec

from drivetrain.dialects.cog.static.scope import Assigned, Callee, Class, External, Scope
from drivetrain.dialects.cog.static.source import Bindings, SourceFile, SourceTree
from drivetrain.model.errors import ProjectError
from drivetrain.model.finding import Finding, Severity

#: Packages whose classes bring no method that runs predictions.
_KNOWN_BASES = frozenset(("cog", "builtins", "abc", "typing"))

#: The first one counts: older projects have ``predict``, and ``run`` may be a method of their own beside it.
_METHODS = {"predict": ("predict", "run"), "train": ("train",)}


class EntryPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The function behind an entry point.

    Attributes:
        function: The function, and where it is defined.
        bound: Whether its first parameter is ``self`` or ``cls``.
        has_setup: Whether it is a method of a class that also has ``setup``.
        has_batch_method: The same of ``predict_batch``.
    """

    function: Callee
    bound: bool = False
    has_setup: bool = False
    has_batch_method: bool = False


def find_entry_point(tree: SourceTree, source: SourceFile, name: str, *, mode: str) -> EntryPoint | None:
    """Find the function of the class or function called ``name``.

    Returns:
        ``None`` if something goes by that name, but what it is cannot be told from the source.

    Raises:
        ProjectError: There is no such thing, or it has not the one method it must have.
    """
    scope = Scope(tree, source)
    meaning = scope.resolve(ast.Name(id=name, ctx=ast.Load()))
    match meaning:
        case Class():
            return _in_class(meaning, mode)
        case Callee():
            return EntryPoint(function=meaning)
        case _ if name in source.bindings or source.bindings.star_imports:
            return None
    remedy = suggest(name, source.bindings.definitions(), what="classes and functions")
    raise _error("entry-point-missing", f"'{source.path}' has no class or function '{name}'", remedy, (source.path, None))


def _in_class(class_: Class, mode: str) -> EntryPoint | None:
    method = next((name for name in _METHODS[mode] if _has(class_, name)), None)
    if method is not None:
        if method != _METHODS[mode][0] and not _is_whole(class_):  # a base that we cannot read may have the one that counts
            return None
        function = _method(class_, method)
        if function is None:
            return None
        bound = "builtins.staticmethod" not in map(function.scope.external_name, function.node.decorator_list)
        return EntryPoint(
            function=function,
            bound=bound,
            has_setup=_has(class_, "setup"),
            has_batch_method=_has(class_, "predict_batch"),
        )
    name, place = class_.node.name, (class_.scope.source.path, class_.node.lineno)
    if not _is_whole(class_):
        return None
    wanted = " or ".join(f"'{method}'" for method in _METHODS[mode])
    there = [method for one in _own_lineage(class_) for method in _bindings(one).definitions()]
    raise _error(
        "method-missing", f"class '{name}' has no {wanted} method", suggest(_METHODS[mode][0], there, what="methods"), place
    )


def suggest(name: str, there: Iterable[str], *, what: str) -> str:
    """A remedy for a name that is not there: the nearest one that is, or all."""
    import difflib  # only needed on this path, and slow to import

    known = sorted(set(there))
    nearest = difflib.get_close_matches(name, known, n=1)
    if nearest:
        return f"did you mean '{nearest[0]}'?"
    return f"its {what} are {', '.join(map(repr, known))}" if known else f"it has no {what}"


def _error(code: str, problem: str, remedy: str, place: tuple[str, int | None]) -> ProjectError:
    finding = Finding(severity=Severity.ERROR, code=code, problem=problem, remedy=remedy, file=place[0], line=place[1])
    return ProjectError(problem, findings=[finding], hint=remedy)


def _own_lineage(class_: Class) -> list[Class]:
    return [one for one in class_.scope.lineage(class_) if isinstance(one, Class)]


def _bindings(class_: Class) -> Bindings:
    return class_.scope.tree.bindings_of(class_.node)


def _has(class_: Class, name: str) -> bool:
    return any(name in _bindings(one) for one in _own_lineage(class_))


def _method(class_: Class, name: str) -> Callee | None:
    meaning = class_.scope.member(class_, name)
    if isinstance(meaning, Assigned):
        meaning = meaning.scope.resolve(meaning.node)
    return meaning if isinstance(meaning, Callee) else None


def _is_whole(class_: Class) -> bool:
    """Whether every method of the class is in source that we have read."""
    outside = [one for one in class_.scope.lineage(class_) if not isinstance(one, Class)]
    return all(isinstance(one, External) and one.name.partition(".")[0] in _KNOWN_BASES for one in outside)
