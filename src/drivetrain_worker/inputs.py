"""From checked JSON values to the arguments of the author's function."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Callable, Collection, Dict, Mapping, Optional

from drivetrain_worker.conversion import Converter, Files
from drivetrain_worker.failure import message_of

if TYPE_CHECKING:
    from drivetrain_worker.signature import Parameters


class InputError(ValueError):
    """An input fits its type, but the author's class for it refuses it."""

    def __init__(self, name: str, refusal: ValueError) -> None:
        super().__init__("invalid input '%s': %s" % (name, message_of(refusal)))


class Bound:
    """Arguments for one call. As a context manager it gives them, and closes the files among them in the end.

    Attributes:
        arguments: By name.
    """

    __slots__ = ("_files", "arguments")

    def __init__(self, arguments: Dict[str, Any], files: Files) -> None:
        self.arguments = arguments
        self._files = files

    def close(self) -> None:
        """Close the files that were opened for the call. May be called twice."""
        for file in self._files.opened:
            file.close()

    def __enter__(self) -> Dict[str, Any]:
        return self.arguments

    def __exit__(self, *_: object) -> None:
        self.close()


def bind(parameters: Parameters, values: Mapping[str, Any], *, fetched: Collection[str] = ()) -> Bound:
    """Make arguments of inputs that the server has checked; where a path or file is asked for, a value names a local file.

    Inputs that are not given get their default as the author wrote it. Names that the function does not have are left out,
    unless it takes any name.

    Args:
        parameters: Of the function to be called.
        values: Checked inputs by name.
        fetched: The local files that the server made of URLs; they tell files from text where a union allows both.

    Raises:
        InputError: The author's class for an input refuses it.
    """
    arguments = parameters.defaults.copy()
    converters = parameters.converters
    files = Files(fetched)
    bound = Bound(arguments, files)
    try:
        for name, value in values.items():
            if name in converters:
                convert = converters[name]
                arguments[name] = value if convert is None else _converted(name, value, convert, files)
            elif parameters.accepts_extra:
                arguments[name] = value
    except BaseException:
        bound.close()
        raise
    return bound


def _converted(name: str, value: Any, convert: Converter, files: Files) -> Any:
    try:
        return convert(value, files)
    except ValueError as refusal:  # what pydantic's and the author's own validation raise
        raise InputError(name, refusal) from None


def open_weights(setup: Callable[..., Any], source: Optional[str]) -> Any:
    """The value for the ``weights`` parameter of a ``setup``, as its annotation asks for it.

    Args:
        setup: The author's function or bound method.
        source: A URL or a local path, if one is configured. Else a file or directory ``weights`` in the working directory is taken,
            for parameters annotated with a path or file.

    Returns:
        A ``Path``, an open binary file, a string, or ``None`` if there are no weights.
    """
    kind = _weights_kind(setup)
    if source is None:
        if kind not in ("path", "file") or not os.path.exists("weights"):
            return None
        source = "weights"
    if kind == "path":
        return _as_path(source)
    return _as_file(source) if kind == "file" else source


def _weights_kind(setup: Callable[..., Any]) -> str:
    from drivetrain_worker.signature import read_parameters

    field = next(field for field in read_parameters(setup, bound=False).fields if field["name"] == "weights")
    wire = field["type"]["of"] if field["type"]["kind"] == "optional" else field["type"]
    if wire["kind"] != "union":
        return str(wire["kind"])
    kinds = [member["kind"] for member in wire["members"]]
    return "string" if "string" in kinds else kinds[0]


def _as_path(source: str) -> Any:
    from cog.types import Path, URLPath

    path = Path.validate(source)
    return path.convert() if isinstance(path, URLPath) else path


def _as_file(source: str) -> Any:
    from cog.types import File

    return File.validate(source) if "://" in source or source.startswith("data:") else open(source, "rb")
