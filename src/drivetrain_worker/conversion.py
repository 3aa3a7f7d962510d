"""How a JSON value becomes what the author expects at its place: converters, and how larger ones are made of smaller ones.

A place whose values are used as they are has no converter (``None``).
"""

from __future__ import annotations

from typing import Any, Callable, Collection, Dict, List, Optional, Tuple

from drivetrain_worker.structure import is_pydantic, is_typed_dict

#: A type as it is told to the server.
Wire = Dict[str, Any]


class Files:
    """The files among the inputs of one call.

    Attributes:
        fetched: Strings that name a local copy which the server made; where a union allows text as well, other strings are text.
        opened: What was opened for the call and has to be closed after it.
    """

    __slots__ = ("fetched", "opened")

    def __init__(self, fetched: Collection[str]) -> None:
        self.fetched = fetched
        self.opened: List[Any] = []


Converter = Callable[[Any, Files], Any]


def open_file(value: Any, files: Files) -> Any:
    """The converter for open files."""
    file = open(value, "rb")  # noqa: SIM115 (closed when the call has ended)
    files.opened.append(file)
    return file


def optional_of(convert: Converter) -> Converter:
    """Convert what is not ``None``."""
    return lambda value, files: None if value is None else convert(value, files)


def list_of(convert: Optional[Converter], make: Callable[[Any], Any]) -> Optional[Converter]:
    """Convert every item, and make a collection of them."""
    if convert is None:
        return None if make is list else lambda value, files: make(value)
    return lambda value, files: make([convert(item, files) for item in value])


def by_position(converters: List[Optional[Converter]]) -> Converter:
    """Convert the first item by the first converter, and so on, into a tuple."""

    def convert(value: Any, files: Files) -> Any:
        return tuple(item if each is None else each(item, files) for item, each in zip(value, converters))

    return convert


def dict_of(convert: Converter) -> Converter:
    """Convert the values of a dictionary."""
    return lambda value, files: {key: convert(item, files) for key, item in value.items()}


def lookup(members: Dict[Any, Any]) -> Converter:
    """Put what a value stands for in its place."""
    return lambda value, files: members[value]


def instance_of(cls: Any, converters: Dict[str, Optional[Converter]], absent: Dict[str, None]) -> Converter:
    """Make instances of a structure by their fields' names; ``absent`` fills in those that callers may leave out."""
    make = dict if is_typed_dict(cls) else cls
    takes_others = make is dict or is_pydantic(cls)

    def convert(value: Any, files: Files) -> Any:
        arguments: Dict[str, Any] = dict(absent)
        for name, item in value.items():
            each = converters.get(name)
            if name in converters or takes_others:
                arguments[name] = item if each is None else each(item, files)
        return make(**arguments)

    return convert


def rooted_instance_of(cls: Any, convert_root: Optional[Converter]) -> Converter:
    """Make instances of a pydantic model that is one value without a name."""
    is_version_2 = hasattr(cls, "__pydantic_root_model__")

    def convert(value: Any, files: Files) -> Any:
        root = value if convert_root is None else convert_root(value, files)
        return cls(root) if is_version_2 else cls(__root__=root)

    return convert


def first_fitting(members: List[Tuple[Wire, Optional[Converter]]]) -> Optional[Converter]:
    """Convert by the first member of a union that a value looks like; the server decides in the same order."""
    if all(convert is None for _, convert in members):
        return None
    takes_text = any(wire["kind"] in ("string", "secret") for wire, _ in members)

    def convert(value: Any, files: Files) -> Any:
        for wire, convert_member in members:
            if _fits(wire, value, files.fetched if takes_text else None):
                return value if convert_member is None else convert_member(value, files)
        return value

    return convert


_JSON_TYPES: Dict[str, Tuple[type, ...]] = {
    "any": (object,),
    "string": (str,),
    "secret": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "list": (list,),
    "dict": (dict,),
    "object": (dict,),
}


def _fits(wire: Wire, value: Any, fetched: Optional[Collection[str]]) -> bool:
    """Whether a checked value can have been meant for a type; ``fetched`` tells files from text where both may stand."""
    kind = wire["kind"]
    if kind in ("path", "file"):
        return isinstance(value, str) and (fetched is None or value in fetched)
    if kind == "enum":
        return any(value == choice and type(value) is type(choice) for choice in wire["values"])
    if kind == "model":
        return isinstance(value, dict) and all(field["name"] in value for field in wire["fields"] if field["required"])
    if kind == "list":
        return isinstance(value, list) and (not value or _fits(wire["items"], value[0], fetched))
    if kind == "optional":
        return value is None or _fits(wire["of"], value, fetched)
    if kind == "union":
        return any(_fits(member, value, fetched) for member in wire["members"])
    return isinstance(value, _JSON_TYPES[kind]) and (kind in ("any", "boolean") or not isinstance(value, bool))
