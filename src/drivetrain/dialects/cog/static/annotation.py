"""What an annotation means as a type of the signature; the rules are those of the worker's ``value_type``, so change that too."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from drivetrain.dialects.cog.static.constant import enum_members, evaluate
from drivetrain.dialects.cog.static.json_form import plain_value
from drivetrain.dialects.cog.static.operation import UNKNOWN, Unresolved
from drivetrain.dialects.cog.static.scope import Assigned, Class, External, Meaning, Scope
from drivetrain.dialects.cog.static.structure import StructureField, is_structure, root_annotation, structure_fields
from drivetrain.model.signature import (
    ANY,
    BOOLEAN,
    FILE,
    INTEGER,
    NULL,
    NUMBER,
    OBJECT,
    PATH,
    SECRET,
    STRING,
    DictOf,
    EnumOf,
    Field,
    IteratorOf,
    ListOf,
    ModelOf,
    OptionalOf,
    Plain,
    Type,
    UnionOf,
)

#: Modules whose names mean the same wherever they are imported from.
_TYPING_MODULES: Final = ("typing", "typing_extensions", "collections.abc", "collections", "builtins")

_PLAIN: Mapping[str, Plain] = {
    "str": STRING,
    "int": INTEGER,
    "float": NUMBER,
    "bool": BOOLEAN,
    "types.NoneType": NULL,
    **dict.fromkeys(("Any", "object"), ANY),
    **dict.fromkeys(("cog.Path", "cog.URLPath", "pathlib.Path", "pathlib.PosixPath", "pathlib.PurePath", "os.PathLike"), PATH),
    **dict.fromkeys(("cog.File", "cog.URLFile", "io.IOBase", "IO", "BinaryIO", "TextIO"), FILE),
    **dict.fromkeys(
        ("io.BytesIO", "io.StringIO", "io.BufferedReader", "io.TextIOWrapper", "io.RawIOBase", "io.BufferedIOBase"), FILE
    ),
    "cog.Secret": SECRET,
}
_LISTS: Final = frozenset(("list", "List", "Sequence", "MutableSequence", "Collection", "Iterable", "deque", "Deque")) | frozenset(
    ("set", "Set", "AbstractSet", "MutableSet", "frozenset", "FrozenSet")
)
_DICTS: Final = frozenset(("dict", "Dict", "Mapping", "MutableMapping", "OrderedDict", "defaultdict", "DefaultDict"))
_ITERATORS: Final = frozenset(("Iterator", "Generator", "AsyncIterator", "AsyncGenerator", "AsyncIterable"))
_CONCATENATING: Final = frozenset(("cog.ConcatenateIterator", "cog.AsyncConcatenateIterator"))
#: For taking out duplicates of what need not be hashable.
_Item = TypeVar("_Item")

_TRANSPARENT: Final = frozenset(("Required", "NotRequired", "ReadOnly", "Final", "ClassVar", "NewType"))


class AnnotationReader:
    """Reads the annotations of one function.

    Attributes:
        notes: Sentences about what could not be expressed exactly.
        complete: Whether every annotation so far was understood for certain.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.complete = True
        self._place = ""
        self._being_read: list[ast.AST] = []

    def read(self, annotation: ast.expr | None, scope: Scope, *, place: str) -> Type:
        """Read an annotation; ``place`` names it in notes."""
        self._place = place
        return ANY if annotation is None else self._read(annotation, scope)

    def read_output(self, annotation: ast.expr | None, scope: Scope, *, yields: bool) -> Type:
        """Read a return annotation; ``yields`` says that the function is a generator, whatever its annotation says."""
        self._place = "the output"
        if annotation is None:
            return IteratorOf(ANY) if yields else ANY
        annotation, scope = _without_aliases(annotation, scope)
        base, arguments = _parts(annotation)
        name = _canonical(scope.external_name(base))
        concatenates = name in _CONCATENATING
        if concatenates or name in _ITERATORS or (yields and name in _LISTS):
            return IteratorOf(self._read(arguments[0], scope) if arguments else ANY, concatenates)
        type_ = self._read(annotation, scope)
        return IteratorOf(type_) if yields else type_

    def doubt(self, what: str) -> None:
        """Note that something could not be told."""
        self.complete = False
        self.notes.append(f"{self._place}: {what}")

    def _read(self, annotation: ast.expr, scope: Scope) -> Type:
        match annotation:
            case ast.Constant(value=None):
                return NULL
            case ast.Constant(value=str(text)):
                return self._read_text(text, scope)
            case ast.BinOp(op=ast.BitOr(), left=left, right=right):
                return _union([self._read(left, scope), self._read(right, scope)])
            case ast.Name() | ast.Attribute():
                return self._read_meaning(scope.resolve(annotation), annotation, scope)
            case ast.Subscript(value=base):
                return self._read_generic(annotation, base, scope)
            case ast.Call():
                return self._read_call(annotation, scope)
        return self._unknown(annotation)

    def _read_text(self, text: str, scope: Scope) -> Type:
        try:
            return self._read(ast.parse(text.strip(), mode="eval").body, scope)
        except SyntaxError:
            return self._unknown(ast.Constant(value=text))

    def _read_meaning(self, meaning: Meaning | None, annotation: ast.expr, scope: Scope) -> Type:
        match meaning:
            case External(full_name):
                return self._read_name(_canonical(full_name), annotation)
            case Class():
                return self._read_class(meaning)
            case Assigned():
                return self._read_alias(meaning, annotation)
            case _:
                return self._unknown(annotation)

    def _read_alias(self, alias: Assigned, annotation: ast.expr) -> Type:
        if alias.node in self._being_read:
            return self._unknown(annotation)
        self._being_read.append(alias.node)
        try:
            return self._read(alias.node, alias.scope)
        finally:
            self._being_read.pop()

    def _read_name(self, name: str, annotation: ast.expr) -> Type:
        if name in _PLAIN:
            return _PLAIN[name]
        if name in _LISTS or name in ("tuple", "Tuple"):
            return ListOf(ANY)
        if name in _DICTS:
            return OBJECT
        return self._unknown(annotation)

    def _read_generic(self, annotation: ast.expr, base: ast.expr, scope: Scope) -> Type:
        _, arguments = _parts(annotation)
        meaning = scope.resolve(base)
        if not isinstance(meaning, External):
            return self._read_meaning(meaning, base, scope)  # a class of the author's, or an alias, with parameters
        match _canonical(meaning.name):
            case "Optional":
                return optional(self._read(arguments[0], scope))
            case "Union":
                return _union([self._read(argument, scope) for argument in arguments])
            case "Literal":
                return self._read_literal(arguments, annotation, scope)
            case "Annotated":
                is_opaque = any(scope.external_name(mark) == "cog.Opaque" for mark in arguments[1:])
                return OBJECT if is_opaque else self._read(arguments[0], scope)
            case "tuple" | "Tuple":
                items = [
                    self._read(one, scope) for one in arguments if not (isinstance(one, ast.Constant) and one.value is Ellipsis)
                ]
                return ListOf(_union(items))
            case name if name in _LISTS:
                return ListOf(self._read(arguments[0], scope))
            case name if name in _DICTS:
                return DictOf(self._read(arguments[1], scope)) if len(arguments) == 2 else OBJECT
            case name if name in _TRANSPARENT:
                return self._read(arguments[0], scope)
            case name:
                return self._read_name(name, annotation)

    def _read_literal(self, arguments: list[ast.expr], annotation: ast.expr, scope: Scope) -> Type:
        try:
            values = [evaluate(argument, scope) for argument in arguments]
        except Unresolved:
            return self._unknown(annotation)
        literal = EnumOf("", tuple(_distinct(plain_value(value) for value in values if value is not None)))
        return optional(literal) if None in values else literal

    def _read_call(self, call: ast.Call, scope: Scope) -> Type:
        match _canonical(scope.external_name(call.func)), call.args:
            case "NewType", [_, inner]:
                return self._read(inner, scope)
            case "TypeVar", [_, *constraints]:
                bound = [keyword.value for keyword in call.keywords if keyword.arg == "bound"]
                return _union([self._read(one, scope) for one in bound or constraints]) if bound or constraints else ANY
        return self._unknown(call)

    def _read_class(self, class_: Class) -> Type:
        members = enum_members(class_)
        if members is not None:
            if any(member.value is UNKNOWN for member in members):
                return self._unknown(ast.Name(id=class_.node.name, ctx=ast.Load()))
            return EnumOf(class_.node.name, tuple(_distinct(plain_value(member) for member in members)))
        if is_structure(class_):
            return self._read_structure(class_)
        bases = [base for base in class_.scope.lineage(class_) if not isinstance(base, Class)]
        for base in bases:
            kin = _PLAIN.get(_canonical(base.name)) if isinstance(base, External) else None
            if kin in (PATH, FILE):
                return kin
        if any(base is None or (isinstance(base, External) and base.name not in _HARMLESS_BASES) for base in bases):
            return self._unknown(ast.Name(id=class_.node.name, ctx=ast.Load()))
        self.notes.append(f"{self._place}: '{class_.node.name}' is taken as any JSON value")
        return ANY

    def _read_structure(self, class_: Class) -> Type:
        if class_.node in self._being_read:
            self.notes.append(f"{self._place}: '{class_.node.name}' inside itself is taken as any JSON object")
            return OBJECT
        if any(base is None for base in class_.scope.lineage(class_)):
            self.doubt(f"what '{class_.node.name}' derives from cannot be told from the source")
        self._being_read.append(class_.node)
        try:
            root = root_annotation(class_)
            return self._read(*root) if root else ModelOf(class_.node.name, tuple(map(self._read_field, structure_fields(class_))))
        finally:
            self._being_read.pop()

    def _read_field(self, field: StructureField) -> Field:
        type_ = self._read(field.annotation, field.scope)
        return Field(
            name=field.name,
            type=optional(type_) if field.is_none else type_,
            required=field.required and not isinstance(type_, OptionalOf),
            default=field.default,
            description=field.description,
        )

    def _unknown(self, annotation: ast.expr) -> Type:
        self.doubt(f"'{ast.unparse(annotation)}' cannot be told from the source")
        return ANY


_HARMLESS_BASES: Final = frozenset(("builtins.object", "abc.ABC", "typing.Generic", "typing.Protocol", "typing.NamedTuple"))


def optional(type_: Type) -> Type:
    """The same, or null."""
    return type_ if isinstance(type_, OptionalOf) or type_ in (ANY, NULL) else OptionalOf(type_)


def _union(types: Iterable[Type]) -> Type:
    members: list[Type] = []
    for type_ in types:
        inner = type_.of if isinstance(type_, OptionalOf) else type_
        members += inner.members if isinstance(inner, UnionOf) else [inner]
        if inner is not type_:
            members.append(NULL)
    distinct = _distinct(members)
    wanted = [member for member in distinct if member != NULL]
    if not wanted:
        return NULL
    if ANY in wanted:
        return ANY
    united = wanted[0] if len(wanted) == 1 else UnionOf(tuple(wanted))
    return united if len(wanted) == len(distinct) else optional(united)


def _distinct(items: Iterable[_Item]) -> list[_Item]:
    found: list[_Item] = []
    for item in items:
        if item not in found:
            found.append(item)
    return found


def _parts(annotation: ast.expr) -> tuple[ast.expr, list[ast.expr]]:
    if not isinstance(annotation, ast.Subscript):
        return annotation, []
    arguments = annotation.slice
    return annotation.value, list(arguments.elts) if isinstance(arguments, ast.Tuple) else [arguments]


def _without_aliases(annotation: ast.expr, scope: Scope) -> tuple[ast.expr, Scope]:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            annotation = ast.parse(annotation.value.strip(), mode="eval").body
        except SyntaxError:
            return annotation, scope
    meaning = scope.resolve(annotation)
    return (meaning.node, meaning.scope) if isinstance(meaning, Assigned) else (annotation, scope)


def _canonical(full_name: str) -> str:
    """One name for what can be imported from several modules."""
    module, _, name = full_name.rpartition(".")
    if module in _TYPING_MODULES:
        return name
    return f"cog.{name}" if module == "cog.types" else full_name
