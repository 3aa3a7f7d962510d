"""From what a model returns or yields to a JSON value, and the files it refers to.

Only what says that it is a file becomes one: paths, open files, and strings where a path was declared.
"""

from __future__ import annotations

import os
from collections import abc
from enum import Enum
from typing import IO, Any, Callable, Dict, List, Optional, Tuple, Union

from drivetrain_worker.structure import coder_of, is_structure, values_of

Pointer = Tuple[Union[str, int], ...]

#: Copies a file, given by its path or as a binary reader, under a name like the one given; returns where it now is.
Save = Callable[[Any, str], str]

#: Types of the standard library that have an obvious JSON form, by name so that their modules need not be imported.
_STANDARD_TYPES: Dict[str, Callable[[Any], Any]] = {
    "datetime.timedelta": lambda value: value.total_seconds(),
    "decimal.Decimal": float,
    "fractions.Fraction": float,
    "uuid.UUID": str,
}

#: A declared type that says nothing.
_UNDECLARED: Dict[str, Any] = {"kind": "any"}


class OutputError(ValueError):
    """A result cannot be handed over.

    Args:
        pointer: Where in the result.
        problem: What is there, and what to return instead.
    """

    def __init__(self, pointer: Pointer, problem: str) -> None:
        steps = ["[%d]" % key if isinstance(key, int) else ".%s" % key for key in pointer]
        super().__init__("the output%s %s" % (" at '%s'" % "".join(steps).lstrip(".") if steps else "", problem))


def encode(value: Any, save: Save, declared: Optional[Dict[str, Any]] = None) -> Tuple[Any, List[Dict[str, Any]]]:
    """Encode one result, or one item of an iterator.

    Args:
        value: What the author's code gave.
        save: Keeps the content of a file as it is now, since the code may change or remove it at once.
        declared: Its type in wire form; at places declared as a path, a string that names an existing file is that file.

    Returns:
        The JSON value, with ``None`` at the places of files, and the files: ``pointer``, ``path`` and ``name`` of each.

    Raises:
        OutputError: Something in the value has no JSON form, or a file is not there.
    """
    kind = type(value)
    if value is None or kind is bool or kind is int or (kind is float and value - value == 0):
        return value, []
    if kind is str and (declared is None or declared["kind"] in ("string", "any")):
        return value, []
    encoder = _Encoder(save)
    try:
        return encoder.encode(value, (), declared or _UNDECLARED), encoder.files
    except RecursionError:
        raise OutputError((), "holds itself, or is nested too deep for JSON; return something flatter") from None


class OutputDirectory:
    """Where the files of one prediction's output are kept. It is made when the first one comes.

    Args:
        path: The directory.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._taken: Dict[str, int] = {}

    def save(self, source: Union[str, IO[bytes]], name: str) -> str:
        """Copy a file into the directory; among files of one name, all but the first get a number before the suffix.

        Args:
            source: Its path, or a reader of its content.
            name: Its base name.

        Returns:
            The path of the copy.
        """
        import shutil

        os.makedirs(self._path, exist_ok=True)
        target = os.path.join(self._path, self._free_name(name))
        try:
            if isinstance(source, str):
                shutil.copyfile(source, target)
            else:
                with open(target, "wb") as copy:
                    shutil.copyfileobj(source, copy, 1024 * 1024)
        except BaseException:
            _remove(target)  # half a copy is of no use and takes room, which may be what there was too little of
            raise
        return target

    def _free_name(self, name: str) -> str:
        stem, suffix = os.path.splitext(name)
        candidate = name
        key = name.casefold()  # some file systems take names that differ in case for the same
        count = self._taken.get(key, 0)
        while candidate.casefold() in self._taken:
            count += 1
            candidate = "%s-%d%s" % (stem, count, suffix)
        self._taken[key] = count
        self._taken.setdefault(candidate.casefold(), 0)
        return candidate


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


class _Encoder:
    def __init__(self, save: Save) -> None:
        self._save = save
        self.files: List[Dict[str, Any]] = []

    def encode(self, value: Any, pointer: Pointer, declared: Dict[str, Any]) -> Any:
        if value is None or isinstance(value, (bool, str, int, float)):
            return self._scalar(value, pointer, declared)
        if isinstance(value, dict):
            return self._mapping(value, pointer, declared)
        if isinstance(value, (list, tuple)):
            return self._items(value, pointer, declared)
        if isinstance(value, Enum):
            return self.encode(value.value, pointer, _UNDECLARED)
        if isinstance(value, os.PathLike):
            return self._path(os.fsdecode(value), pointer)
        if is_structure(type(value)):
            return self.encode(values_of(value), pointer, declared)
        if callable(getattr(value, "read", None)):
            return self._file(value, pointer)
        return self._foreign(value, pointer, declared)

    def _scalar(self, value: Any, pointer: Pointer, declared: Dict[str, Any]) -> Any:
        if isinstance(value, Enum):
            return self._scalar(value.value, pointer, _UNDECLARED)
        if isinstance(value, str):
            return self._path(value, pointer) if _may_be_path(declared) and os.path.isfile(value) else str(value)
        if isinstance(value, float):
            if value - value != 0:  # true for infinity and for what is not a number
                raise OutputError(pointer, "is %r, which JSON cannot express; return None or a string instead" % float(value))
            return float(value)
        return int(value) if isinstance(value, int) and not isinstance(value, bool) else value

    def _mapping(self, value: Any, pointer: Pointer, declared: Dict[str, Any]) -> Dict[str, Any]:
        encoded = {}
        for key, item in value.items():
            name = key if type(key) is str else _key_text(key)
            encoded[name] = self.encode(item, (*pointer, name), _inside(declared, name))
        return encoded

    def _items(self, value: Any, pointer: Pointer, declared: Dict[str, Any]) -> List[Any]:
        items = _inside(declared, 0)
        return [self.encode(item, (*pointer, index), items) for index, item in enumerate(value)]

    def _path(self, path: str, pointer: Pointer) -> None:
        if os.path.isdir(path):
            raise OutputError(pointer, "is the directory '%s'; pack it into one file and return that file's Path" % path)
        if not os.path.isfile(path):
            raise OutputError(pointer, "is the path '%s', where there is no file; write the file before returning it" % path)
        self._keep(path, os.path.basename(path), pointer)

    def _keep(self, source: Any, name: str, pointer: Pointer) -> None:
        self.files.append({"pointer": list(pointer), "path": self._save(source, name), "name": name})

    def _file(self, file: Any, pointer: Pointer) -> None:
        path = _path_of(file)
        if path is not None:
            return self._path(path, pointer)
        if getattr(file, "closed", False) or not _answers(file, "readable"):
            raise OutputError(
                pointer, "is a file that can no longer be read; return it open, or write it to disk and return its Path"
            )
        name = getattr(file, "name", None)
        base_name = os.path.basename(name) if isinstance(name, str) else ""
        with _Rewound(file) as content:
            self._keep(content, base_name or "file", pointer)
        return None

    def _foreign(self, value: Any, pointer: Pointer, declared: Dict[str, Any]) -> Any:
        """What is recognised by what it can do; the libraries are not imported."""
        if _is_secret(value):
            return str(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            raise OutputError(
                pointer, "is of type '%s'; write it to a file and return its Path, or decode it" % type(value).__name__
            )
        standard = _STANDARD_TYPES.get(_qualified(value))
        if standard is not None:
            return self.encode(standard(value), pointer, declared)
        if callable(getattr(value, "isoformat", None)):
            return value.isoformat()
        if callable(getattr(value, "tolist", None)):  # arrays and scalars of numpy, and tensors
            return self.encode(value.tolist(), pointer, declared)
        if isinstance(value, (abc.Sequence, abc.Set, abc.Iterator, abc.ValuesView)):
            return self._items(value, pointer, declared)
        if isinstance(value, abc.Mapping):
            return self._mapping(value, pointer, declared)
        coder = coder_of(type(value))
        if coder is not None:
            return self.encode(coder.encode(value), pointer, declared)
        raise OutputError(pointer, "is of type '%s', %s" % (_qualified(value), _advice(value)))


class _Rewound:
    """The content of an open file from its beginning, as bytes. The file's position is as before in the end."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._position: Optional[int] = None

    def __enter__(self) -> Any:
        if _answers(self._file, "seekable"):
            self._position = self._file.tell()
            self._file.seek(0)
        head = self._file.read(0)
        if isinstance(head, str):
            import io

            return io.BytesIO(self._file.read().encode(getattr(self._file, "encoding", None) or "utf-8"))
        return self._file

    def __exit__(self, *_: object) -> None:
        if self._position is not None:
            self._file.seek(self._position)


def _path_of(file: Any) -> Optional[str]:
    """Where the content of a file object is on disk, complete; ``None`` if it is in memory or has no name any more."""
    name = getattr(file, "name", None)
    if not isinstance(name, (str, os.PathLike)) or not os.path.isfile(name):
        return None
    path = os.fsdecode(name)
    if getattr(file, "closed", False):
        import io

        return None if isinstance(file, (io.BytesIO, io.StringIO)) else path
    try:
        if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
            file.flush()
            return path
    except (AttributeError, OSError, ValueError):  # no descriptor: in memory, or a connection
        pass
    return None


def _answers(file: Any, question: str) -> bool:
    ask = getattr(file, question, None)
    return ask is not None and bool(ask())


def _key_text(key: Any) -> str:
    """A dictionary's key as JSON writes it."""
    if isinstance(key, Enum):
        return _key_text(key.value)
    if key is None:
        return "null"
    return str(key).lower() if isinstance(key, bool) else str(key)


def _is_secret(value: Any) -> bool:
    return callable(getattr(type(value), "get_secret_value", None))


def _qualified(value: Any) -> str:
    cls = type(value)
    return cls.__name__ if cls.__module__ == "builtins" else "%s.%s" % (cls.__module__, cls.__name__)


def _advice(value: Any) -> str:
    if type(value).__module__.split(".")[0] == "PIL":
        return "an image in memory; save it to a file and return its Path"
    if hasattr(value, "__aiter__") or hasattr(value, "__await__"):
        return "which is asynchronous; await it before returning it"
    return "which has no JSON form; return strings, numbers, lists, dicts, models, or the Path of a file"


def _may_be_path(declared: Dict[str, Any]) -> bool:
    kind: str = declared["kind"]
    if kind == "optional":
        return _may_be_path(declared["of"])
    if kind == "union":
        kinds = [member["kind"] for member in declared["members"]]
        return "path" in kinds and "string" not in kinds
    return kind == "path"


def _inside(declared: Dict[str, Any], key: Union[str, int]) -> Dict[str, Any]:
    """The declared type of a place inside a value."""
    kind = declared["kind"]
    inner: Dict[str, Any] = _UNDECLARED
    if kind == "optional":
        inner = _inside(declared["of"], key)
    elif kind == "union":
        candidates = [_inside(member, key) for member in declared["members"]]
        inner = next((candidate for candidate in candidates if candidate is not _UNDECLARED), _UNDECLARED)
    elif kind in ("list", "iterator"):
        inner = declared["items"]
    elif kind == "dict":
        inner = declared["values"]
    elif kind == "model":
        inner = next((field["type"] for field in declared["fields"] if field["name"] == key), _UNDECLARED)
    return inner
