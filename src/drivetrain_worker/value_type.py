"""What a type annotation means: how it is told to the server, and how a JSON value at that place becomes what the author expects.

Both are read in one go, so that they agree. What is not understood is served as any JSON value, with a note, and never refused.
"""

from __future__ import annotations

import collections
import collections.abc
import os
import typing
from enum import Enum
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Set, Tuple, TypeVar, get_args, get_origin

from drivetrain_worker.annotation import UnresolvedError, evaluate
from drivetrain_worker.conversion import (
    Converter,
    Wire,
    by_position,
    dict_of,
    first_fitting,
    instance_of,
    list_of,
    lookup,
    open_file,
    optional_of,
    rooted_instance_of,
)
from drivetrain_worker.structure import (
    MISSING,
    StructureField,
    coder_of,
    fields_of,
    namespace_of,
    root_annotation,
)

ANY: Wire = {"kind": "any"}


class Reading(NamedTuple):
    """What an annotation means. ``convert`` is ``None`` where the JSON value is used as it is."""

    wire: Wire
    convert: Optional[Converter] = None


_LIST_ORIGINS: Dict[Any, Callable[[Any], Any]] = {
    list: list,
    collections.abc.Sequence: list,
    collections.abc.MutableSequence: list,
    collections.abc.Collection: list,
    collections.abc.Iterable: list,
    set: set,
    collections.abc.Set: set,
    collections.abc.MutableSet: set,
    frozenset: frozenset,
    collections.deque: collections.deque,
}
_DICT_ORIGINS = (
    dict,
    collections.abc.Mapping,
    collections.abc.MutableMapping,
    collections.OrderedDict,
    collections.defaultdict,
)
_ITERATOR_ORIGINS = (
    collections.abc.Iterator,
    collections.abc.Generator,
    collections.abc.AsyncIterator,
    collections.abc.AsyncGenerator,
    collections.abc.AsyncIterable,
)

#: Forms of typing that say something about the place, not about the value.
_TRANSPARENT_FORMS = ("Required", "NotRequired", "ReadOnly", "Final")


class TypeReader:
    """Reads the annotations of one function.

    Attributes:
        notes: Sentences about what could not be expressed exactly.
    """

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.notes: List[str] = []
        self._names = names
        self._place = ""
        self._models_being_read: Set[type] = set()
        self._simple = _simple_types()

    def read(self, annotation: Any, *, place: str) -> Reading:
        """Read an annotation; ``place`` names it in notes."""
        self._place = place
        return self._read(annotation)

    def read_output(self, annotation: Any, *, yields: bool) -> Wire:
        """Read a return annotation.

        Args:
            annotation: As written.
            yields: Whether the function is a generator, whatever its annotation says.
        """
        self._place = "the output"
        annotation = self._resolved(annotation)
        origin = get_origin(annotation) or annotation
        concatenates = _is_concatenating(origin)
        if concatenates or origin in _ITERATOR_ORIGINS:
            return self._iterator(get_args(annotation), concatenates)
        if not yields:
            return self._read(annotation).wire
        if _is_hashable(origin) and origin in _LIST_ORIGINS:
            return self._iterator(get_args(annotation), concatenates=False)
        return {"kind": "iterator", "items": self._read(annotation).wire, "concatenate": False}

    def _iterator(self, arguments: Tuple[Any, ...], concatenates: bool) -> Wire:
        items = self._read(arguments[0]).wire if arguments else ANY
        return {"kind": "iterator", "items": items, "concatenate": concatenates}

    def _read(self, annotation: Any) -> Reading:
        annotation = self._resolved(annotation)
        if _is_hashable(annotation) and annotation in self._simple:
            return self._simple[annotation]
        if hasattr(annotation, "__metadata__"):  # Annotated[…]
            return self._read_annotated(annotation)
        transparent = _transparent(annotation)
        if transparent is not MISSING:
            return self._read(transparent)
        if isinstance(annotation, TypeVar):
            return self._read_type_variable(annotation)
        origin = get_origin(annotation)
        if origin is None:
            return self._read_class(annotation)
        return self._read_generic(annotation, origin, get_args(annotation))

    def _resolved(self, annotation: Any) -> Any:
        text = annotation if isinstance(annotation, str) else getattr(annotation, "__forward_arg__", None)
        if text is None:
            return annotation
        try:
            return self._resolved(evaluate(text, self._names))
        except UnresolvedError as error:
            return self._unknown(text, because=str(error))

    def _unknown(self, name: str, because: str = "it is no type that JSON has or that drivetrain knows") -> Any:
        self.notes.append("%s: '%s' is taken as any JSON value (%s)" % (self._place, name, because))
        return Any

    def _read_annotated(self, annotation: Any) -> Reading:
        from cog._opaque import Opaque

        if any(mark is Opaque for mark in annotation.__metadata__):
            return Reading({"kind": "object"})
        return self._read(annotation.__origin__)

    def _read_type_variable(self, variable: Any) -> Reading:
        if variable.__bound__ is not None:
            return self._read(variable.__bound__)
        return self._union([self._read(one) for one in variable.__constraints__]) if variable.__constraints__ else Reading(ANY)

    def _read_generic(self, annotation: Any, origin: Any, arguments: Tuple[Any, ...]) -> Reading:
        if origin is tuple:
            return self._tuple(arguments)
        if origin in _LIST_ORIGINS:
            return _list(self._read(arguments[0]) if arguments else Reading(ANY), _LIST_ORIGINS[origin])
        if origin in _DICT_ORIGINS:
            return _dict(self._read(arguments[1])) if len(arguments) == 2 else Reading({"kind": "object"})
        if _form(origin) == "Literal":
            return self._literal(arguments)
        if origin is typing.Union or type(annotation).__name__ == "UnionType":
            return self._union([self._read(argument) for argument in arguments])
        if isinstance(origin, type):
            return self._read_class(origin)
        return self._read(self._unknown(str(annotation)))

    def _tuple(self, arguments: Tuple[Any, ...]) -> Reading:
        if not arguments:
            return _list(Reading(ANY), tuple)
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return _list(self._read(arguments[0]), tuple)
        items = [self._read(argument) for argument in arguments]
        convert = by_position([item.convert for item in items])
        return Reading({"kind": "list", "items": self._union(items).wire}, convert)

    def _literal(self, values: Iterable[Any]) -> Reading:
        members = {_plain_value(value): value for value in values if value is not None}
        convert = lookup(members) if any(isinstance(value, Enum) for value in members.values()) else None
        reading = Reading({"kind": "enum", "name": "", "values": list(members)}, convert)
        return optional(reading) if None in values else reading

    def _union(self, members: List[Reading]) -> Reading:
        distinct: List[Reading] = []
        for member in members:
            if member.wire not in [other.wire for other in distinct]:
                distinct.append(member)
        wanted = [member for member in distinct if member.wire["kind"] != "null"]
        if any(member.wire == ANY for member in wanted):
            return Reading(ANY)
        if len(wanted) > 1:
            united = Reading(
                {"kind": "union", "members": [member.wire for member in wanted]},
                first_fitting([(member.wire, member.convert) for member in wanted]),
            )
        else:
            united = wanted[0] if wanted else Reading({"kind": "null"})
        return united if len(wanted) == len(distinct) or not wanted else optional(united)

    def _read_class(self, cls: Any) -> Reading:
        if not isinstance(cls, type):
            return self._read(self._unknown(str(cls)))
        if cls is tuple:
            return self._tuple(())
        if cls in _LIST_ORIGINS:
            return _list(Reading(ANY), _LIST_ORIGINS[cls])
        if cls in _DICT_ORIGINS:
            return Reading({"kind": "object"})
        if issubclass(cls, Enum):
            members = {_plain_value(member): member for member in cls}
            return Reading({"kind": "enum", "name": cls.__name__, "values": list(members)}, lookup(members))
        coder = coder_of(cls)
        if coder is not None:
            return Reading({"kind": "object"}, lambda value, files: coder.decode(value))
        fields = fields_of(cls)
        if fields is not None:
            return self._read_model(cls, fields)
        return self._read_kin(cls)

    def _read_kin(self, cls: type) -> Reading:
        """A class that is none of those known by identity, but may derive from one."""
        import io

        for plain in (bool, str, int, float):
            if issubclass(cls, plain):
                return self._simple[plain]
        if issubclass(cls, os.PathLike):
            return self._simple[os.PathLike]
        if issubclass(cls, io.IOBase) or cls in (typing.IO, typing.BinaryIO, typing.TextIO):
            return self._simple[io.IOBase]
        return self._read(self._unknown("%s.%s" % (cls.__module__, cls.__qualname__)))

    def _read_model(self, cls: type, fields: List[StructureField]) -> Reading:
        if cls in self._models_being_read:
            self.notes.append("%s: '%s' inside itself is taken as any JSON object" % (self._place, cls.__name__))
            return Reading({"kind": "object"})  # not converted: the server has not checked what is inside, nor fetched its files
        self._models_being_read.add(cls)
        names_outside, self._names = self._names, namespace_of(cls)
        try:
            root = root_annotation(cls)
            return self._structure(cls, fields) if root is MISSING else self._rooted(cls, root)
        finally:
            self._names = names_outside
            self._models_being_read.remove(cls)

    def _rooted(self, cls: type, root: Any) -> Reading:
        inner = self._read(root)
        return Reading(inner.wire, rooted_instance_of(cls, inner.convert))

    def _structure(self, cls: type, fields: List[StructureField]) -> Reading:
        readings = {}
        wires = []
        for field in fields:
            annotation = self._resolved(field.annotation)
            reading = readings[field.name] = self._read(annotation)
            wires.append(_field_wire(field, annotation, reading))
        wire = {"kind": "model", "name": cls.__name__, "fields": wires}
        absent = {field.name: None for field in fields if field.required and readings[field.name].wire["kind"] == "optional"}
        return Reading(wire, instance_of(cls, {name: reading.convert for name, reading in readings.items()}, absent))


def optional(reading: Reading) -> Reading:
    """The same, or ``null``."""
    if reading.wire["kind"] in ("optional", "any", "null"):
        return reading
    return Reading({"kind": "optional", "of": reading.wire}, reading.convert and optional_of(reading.convert))


def json_default(value: Any) -> Any:
    """A default as JSON; ``MISSING`` if it has no JSON form or must not be shown. A path is its string."""
    if isinstance(value, Enum):
        return _plain_value(value)
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else MISSING  # JSON has neither infinity nor NaN
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [json_default(item) for item in value]
        return MISSING if any(item is MISSING for item in items) else items
    if isinstance(value, dict):
        members = {str(key): json_default(item) for key, item in value.items()}
        return MISSING if any(item is MISSING for item in members.values()) else members
    return MISSING


def _simple_types() -> Dict[Any, Reading]:
    import inspect
    import io
    import pathlib

    from cog.types import File, Path, Secret, URLFile, URLPath

    path = Reading({"kind": "path"}, lambda value, files: Path(value))
    file = Reading({"kind": "file"}, open_file)
    known: Dict[Any, Reading] = {
        str: Reading({"kind": "string"}),
        int: Reading({"kind": "integer"}),
        float: Reading({"kind": "number"}),
        bool: Reading({"kind": "boolean"}),
        None: Reading({"kind": "null"}),
        type(None): Reading({"kind": "null"}),
        Secret: Reading({"kind": "secret"}, lambda value, files: Secret(value)),
    }
    known.update(dict.fromkeys((Any, object, inspect.Parameter.empty), Reading(ANY)))
    known.update(dict.fromkeys((Path, URLPath, pathlib.Path, pathlib.PosixPath, pathlib.PurePath, os.PathLike), path))
    known.update(dict.fromkeys((File, URLFile, io.IOBase), file))
    return known


def _list(items: Reading, make: Callable[[Any], Any]) -> Reading:
    return Reading({"kind": "list", "items": items.wire}, list_of(items.convert, make))


def _dict(values: Reading) -> Reading:
    return Reading({"kind": "dict", "values": values.wire}, values.convert and dict_of(values.convert))


def _field_wire(field: StructureField, annotation: Any, reading: Reading) -> Wire:
    form = _form(get_origin(annotation))
    required = {"Required": True, "NotRequired": False}.get(form, field.required)
    is_optional = reading.wire["kind"] == "optional"
    wire: Wire = {
        "name": field.name,
        "type": optional(reading).wire if field.default is None else reading.wire,
        "required": required and not is_optional,
    }
    default = json_default(None if field.default is MISSING else field.default)
    if default is not None and default is not MISSING:
        wire["default"] = default
    if field.description:
        wire["description"] = field.description
    return wire


def _plain_value(value: Any) -> Any:
    """How an enum member, or a literal, travels: by its value if JSON has it, else by its name."""
    if not isinstance(value, Enum):
        return value
    inner = value.value
    return inner if isinstance(inner, (str, int, float)) and not isinstance(inner, Enum) else value.name


def _form(origin: Any) -> str:
    return str(getattr(origin, "_name", None) or "")


def _transparent(annotation: Any) -> Any:
    """What is inside a form that wraps a type without changing its values; ``MISSING`` if it is none."""
    if hasattr(annotation, "__supertype__"):  # NewType
        return annotation.__supertype__
    if type(annotation).__name__ == "TypeAliasType":
        return annotation.__value__
    origin = get_origin(annotation)
    if type(origin).__name__ == "TypeAliasType":
        return origin.__value__
    if _form(origin) in _TRANSPARENT_FORMS:
        return get_args(annotation)[0]
    return MISSING


def _is_concatenating(origin: Any) -> bool:
    from cog.types import AsyncConcatenateIterator, ConcatenateIterator

    return origin is ConcatenateIterator or origin is AsyncConcatenateIterator


def _is_hashable(annotation: Any) -> bool:
    try:
        hash(annotation)
    except TypeError:
        return False
    return True
