"""The project's source files, parsed: which name is bound to what, in a module and in a class, without running anything."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


class Import(msgspec.Struct, frozen=True, kw_only=True):
    """``import module`` or ``from module import name``; ``level`` counts the leading dots."""

    module: str
    name: str | None = None
    level: int = 0


#: What a name may be bound to; an expression is the value that was assigned.
Bound: TypeAlias = ast.ClassDef | Function | Import | ast.expr

_MUTATORS = frozenset(
    {"append", "extend", "insert", "remove", "pop", "clear", "update", "setdefault", "add", "discard", "sort", "reverse"}
)


class Bindings(msgspec.Struct):
    """The names bound in one body, and how sure that is.

    Attributes:
        star_imports: Modules all of whose names are imported.
    """

    star_imports: list[Import] = []
    _bound: dict[str, list[tuple[Bound, bool]]] = {}
    _changed: set[str] = msgspec.field(default_factory=set)

    def find(self, name: str) -> Bound | None:
        """What a name is bound to; ``None`` if nothing, or if it depends on what happens when the program runs."""
        entries = self._bound.get(name)
        if not entries:
            return None
        last, is_conditional = entries[-1]
        if is_conditional and any(isinstance(bound, ast.expr) for bound, _ in entries) and len(entries) > 1:
            return None
        # Of `try: import a` and `except: import b`, the first is the usual one.
        bound = entries[0][0] if is_conditional and not isinstance(last, ast.expr) else last
        return None if name in self._changed and isinstance(bound, ast.expr | Import) else bound

    def changes(self, name: str) -> bool:
        """Whether what a name is bound to, here or by a star import, is changed later on."""
        return name in self._changed

    def __contains__(self, name: str) -> bool:
        return name in self._bound

    def definitions(self) -> Iterator[str]:
        """Names of the classes and functions that are defined here."""
        for name, entries in self._bound.items():
            if isinstance(entries[-1][0], ast.ClassDef | Function):
                yield name

    def add(self, statements: Iterable[ast.stmt], *, conditional: bool = False) -> Bindings:
        """Take the bindings of more statements in."""
        for statement in statements:
            self._add_statement(statement, conditional)
        return self

    def _add_statement(self, statement: ast.stmt, conditional: bool) -> None:
        match statement:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                self._bind(name, statement, conditional)
            case ast.Import() | ast.ImportFrom():
                self._add_import(statement, conditional)
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    self._assign(target, value, conditional)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._assign(target, value, conditional)
            case ast.AugAssign(target=ast.Name(id=name)):
                self._changed.add(name)
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method))) if method in _MUTATORS:
                self._changed.add(name)
            case ast.Delete(targets=targets):
                self._changed.update(one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name))
            case _ if type(statement).__name__ == "TypeAlias":  # `type X = …`, where our own Python knows it
                self._bind(statement.name.id, statement.value, conditional)  # type: ignore[attr-defined]
            case _:
                for block in _blocks(statement):
                    self.add(block, conditional=True)

    def _add_import(self, statement: ast.Import | ast.ImportFrom, conditional: bool) -> None:
        for alias in statement.names:
            if isinstance(statement, ast.Import):
                module = alias.name if alias.asname else alias.name.partition(".")[0]
                self._bind(alias.asname or module, Import(module=module), conditional)
                continue
            imported = Import(module=statement.module or "", name=alias.name, level=statement.level)
            if alias.name == "*":
                self.star_imports.append(imported)
            else:
                self._bind(alias.asname or alias.name, imported, conditional)

    def _assign(self, target: ast.expr, value: ast.expr, conditional: bool) -> None:
        match target:
            case ast.Name(id=name):
                self._bind(name, value, conditional)
            case ast.Subscript(value=ast.Name(id=name)) | ast.Attribute(value=ast.Name(id=name)):
                self._changed.add(name)
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                values = value.elts if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(targets) else None
                for index, inner in enumerate(targets):
                    item = values[index] if values else ast.Subscript(value=value, slice=ast.Constant(value=index), ctx=ast.Load())
                    self._assign(inner, item, conditional)

    def _bind(self, name: str, bound: Bound, conditional: bool) -> None:
        self._bound.setdefault(name, []).append((bound, conditional))


def _blocks(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        yield getattr(statement, name, [])
    for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        yield part.body


class SourceFile(msgspec.Struct, frozen=True, eq=False):
    """One parsed file of the project.

    Attributes:
        path: Relative to the project's root.
        package: Dotted name of the package it is in; empty at the root.
        bindings: What its top level binds.
    """

    path: str
    package: str
    bindings: Bindings


class SourceTree:
    """The project's source files, each parsed once.

    Args:
        root: The project's directory, which is where imports start from.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.being_searched: set[tuple[SourceFile, str]] = set()  # so that modules may import each other
        self._modules: dict[str, SourceFile | None] = {}
        self._class_bindings: dict[ast.ClassDef, Bindings] = {}

    def parse(self, path: str, package: str = "") -> SourceFile:
        """Parse a file.

        Raises:
            OSError: It cannot be read.
            SyntaxError: It is not Python as our own interpreter knows it.
            ValueError: It holds null bytes.
        """
        content = (self.root / path).read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as odd escapes in the author's strings
            tree = ast.parse(content, filename=path)
        return SourceFile(path, package, Bindings().add(tree.body))

    def module(self, name: str) -> SourceFile | None:
        """The project's module of a dotted name, if there is one that can be read."""
        if name not in self._modules:
            self._modules[name] = self._find_module(name)
        return self._modules[name]

    def is_package_directory(self, name: str) -> bool:
        """Whether a dotted name is that of a directory without ``__init__.py``."""
        return (self.root / name.replace(".", "/")).is_dir()

    def imported_module(self, import_: Import, importer: SourceFile) -> str:
        """The dotted name of the module that an import in a file is about."""
        if not import_.level:
            return import_.module
        parents = importer.package.split(".") if importer.package else []
        parents = parents[: len(parents) - import_.level + 1]
        return ".".join([*parents, *([import_.module] if import_.module else [])])

    def bindings_of(self, class_: ast.ClassDef) -> Bindings:
        """What a class's body binds."""
        if class_ not in self._class_bindings:
            self._class_bindings[class_] = Bindings().add(class_.body)
        return self._class_bindings[class_]

    def _find_module(self, name: str) -> SourceFile | None:
        base = name.replace(".", "/")
        for path, package in ((f"{base}.py", name.rpartition(".")[0]), (f"{base}/__init__.py", name)):
            try:
                return self.parse(path, package)
            except (OSError, SyntaxError, ValueError):
                continue
        return None
