"""From a name in an expression to what it stands for, across classes, modules and imports of a project."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import enum
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import replace

from drivetrain.dialects.cog.static.source import Bound, Function, Import, SourceFile, SourceTree


class External(msgspec.Struct, frozen=True):
    """Something outside the project, by its full name."""

    name: str


class Module(msgspec.Struct, frozen=True, eq=False):
    """A module of the project."""

    source: SourceFile


class Class(msgspec.Struct, frozen=True, eq=False):
    """A class of the project, and the scope of the place where it is defined."""

    node: ast.ClassDef
    scope: Scope

    @property
    def body(self) -> Scope:
        """The scope inside the class's body."""
        return replace(self.scope, classes=(*self.scope.classes, self.node))


class Callee(msgspec.Struct, frozen=True, eq=False):
    """A function of the project, and the scope of the place where it is defined."""

    node: Function
    scope: Scope


class Assigned(msgspec.Struct, frozen=True, eq=False):
    """The expression that was assigned to a name, and the scope it is in."""

    node: ast.expr
    scope: Scope


Meaning: TypeAlias = External | Module | Class | Callee | Assigned

#: What ``from … import *`` gives, for modules that authors import so. The model's Python may be newer than ours.
_STAR_MODULES: Mapping[str, Iterable[str]] = {
    "typing": (*typing.__all__, "NotRequired", "ReadOnly", "Required", "Self"),
    "enum": (*enum.__all__, "EnumType", "ReprEnum", "StrEnum"),
    "dataclasses": dataclasses.__all__,
    "pydantic": ("BaseModel", "Field", "RootModel"),
    "cog": (
        *("BasePredictor", "BaseRunner", "Input", "BaseModel", "Opaque", "Path", "File", "Secret", "URLPath", "URLFile"),
        *("ConcatenateIterator", "AsyncConcatenateIterator", "streaming", "concurrent"),
    ),
}

_LONGEST_CHAIN = 64


class Scope(msgspec.Struct, frozen=True, eq=False):
    """Where an expression is: in which file, in which class bodies, and what a function's parameters stand for there.

    Attributes:
        values: Names that have a value already: parameters, and the targets of comprehensions.
    """

    tree: SourceTree
    source: SourceFile
    classes: tuple[ast.ClassDef, ...] = ()
    values: Mapping[str, Any] = {}

    def with_values(self, values: Mapping[str, Any]) -> Scope:
        """The same with more names that have a value."""
        return replace(self, values={**self.values, **values})

    def resolve(self, expression: ast.expr) -> Meaning | None:
        """What a dotted name stands for, after following aliases; ``None`` if that cannot be told, or it is no name."""
        meaning = self.look_up(expression)
        for _ in range(_LONGEST_CHAIN):
            if not isinstance(meaning, Assigned) or not isinstance(meaning.node, ast.Name | ast.Attribute):
                return meaning
            followed = meaning.scope.look_up(meaning.node)
            if followed is None:
                return meaning
            meaning = followed
        return None

    def look_up(self, expression: ast.expr) -> Meaning | None:
        """What a dotted name is bound to, without following it when that is another name."""
        match expression:
            case ast.Name(id=name):
                return self._look_up_name(name)
            case ast.Attribute(value=value, attr=attribute):
                return self.member(self.resolve(value), attribute)
            case _:
                return None

    def external_name(self, expression: ast.expr) -> str:
        """The full name of something outside the project that an expression stands for; empty if it is none."""
        meaning = self.resolve(expression)
        return meaning.name if isinstance(meaning, External) else ""

    def member(self, owner: Meaning | None, name: str) -> Meaning | None:
        """What an attribute of something stands for."""
        match owner:
            case External(outer):
                module = self.tree.module(f"{outer}.{name}") if self.tree.is_package_directory(outer) else None
                return External(f"{outer}.{name}") if module is None else Module(module)
            case Module(source):
                return self._in_module(source, name) or self._submodule(source, name)
            case Class():
                holders = (one for one in self.lineage(owner) if isinstance(one, Class) and name in self.tree.bindings_of(one.node))
                holder = next(holders, None)
                return None if holder is None else holder.body._in_class(holder.node, name)  # noqa: SLF001 (of the same class)
            case _:
                return None

    def bases(self, class_: Class) -> list[Meaning | None]:
        """What a class derives from, in order; parameters in brackets are left out."""
        found = [class_.scope.resolve(base.value if isinstance(base, ast.Subscript) else base) for base in class_.node.bases]
        # A class that derives from one of its own name derives from an earlier one, which it hides from us.
        return [None if isinstance(base, Class) and base.node is class_.node else base for base in found]

    def lineage(self, class_: Class) -> list[Meaning | None]:
        """A class and what it derives from, nearest first; a class that two bases share comes after both."""
        found: list[Meaning | None] = [class_]
        for base in self.bases(class_):
            for one in self.lineage(base) if isinstance(base, Class) else [base]:
                if isinstance(one, Class):
                    found = [earlier for earlier in found if not (isinstance(earlier, Class) and earlier.node is one.node)]
                found.append(one)
        return found

    def _look_up_name(self, name: str) -> Meaning | None:
        if name in self.values:
            return None
        if self.classes:  # a class's body sees itself and the module, not the classes around it
            class_ = self.classes[-1]
            if name in self.tree.bindings_of(class_):
                return self._in_class(class_, name)
        if found := self._in_module(self.source, name):
            return found
        if name not in self.source.bindings and hasattr(builtins, name):
            return External(f"builtins.{name}")
        return None

    def _in_class(self, class_: ast.ClassDef, name: str) -> Meaning | None:
        bound = self.tree.bindings_of(class_).find(name)
        return None if bound is None else self._meaning(bound)

    def _in_module(self, source: SourceFile, name: str) -> Meaning | None:
        search = (source, name)
        if search in self.tree.being_searched:
            return None
        self.tree.being_searched.add(search)
        try:
            return self._search_module(source, name)
        finally:
            self.tree.being_searched.discard(search)

    def _search_module(self, source: SourceFile, name: str) -> Meaning | None:
        inside = Scope(self.tree, source)
        bound = source.bindings.find(name)
        if bound is not None:
            return inside._meaning(bound)
        if name in source.bindings or source.bindings.changes(name):
            return None
        for star in source.bindings.star_imports:
            module = self.tree.imported_module(star, source)
            if (starred := self.tree.module(module)) is not None:
                if starred is not source and (found := self._in_module(starred, name)) is not None:
                    return found
            elif name in _STAR_MODULES.get(module, ()):
                return External(f"{module}.{name}")
        return None

    def _submodule(self, source: SourceFile, name: str) -> Meaning | None:
        submodule = self.tree.module(f"{source.package}.{name}") if source.package else None
        return None if submodule is None else Module(submodule)

    def _meaning(self, bound: Bound) -> Meaning | None:
        match bound:
            case ast.ClassDef():
                return Class(bound, self)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                return Callee(bound, self)
            case Import():
                return self._imported(bound)
            case _:
                return Assigned(bound, self)

    def _imported(self, import_: Import) -> Meaning | None:
        name = self.tree.imported_module(import_, self.source)
        module = self.tree.module(name)
        if import_.name is None:
            return External(name) if module is None else Module(module)
        if module is not None and module is not self.source:
            found = self._in_module(module, import_.name)
            if found is not None:
                return found
        submodule = self.tree.module(f"{name}.{import_.name}" if name else import_.name)
        if submodule is not None:
            return Module(submodule)
        return External(f"{name}.{import_.name}") if module is None else None
