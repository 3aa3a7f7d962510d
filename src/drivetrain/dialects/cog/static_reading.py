"""Read the signature of a project's entry point from its source, in milliseconds and without running any of it.

Unlike the worker's reading of the imported code, this works where no environment has been built, no GPU is there, and importing
takes a minute. It says what it cannot tell: names of inputs are certain, types and constraints only if ``complete``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from msgspec.structs import replace

from drivetrain.dialects.cog.static.annotation import AnnotationReader
from drivetrain.dialects.cog.static.entry_point import find_entry_point, suggest
from drivetrain.dialects.cog.static.function import read_function
from drivetrain.dialects.cog.static.source import SourceFile, SourceTree
from drivetrain.model.errors import ProjectError
from drivetrain.model.finding import Finding, Severity
from drivetrain.model.project import Mode, Project, Reference
from drivetrain.model.signature import ANY, Field, ListOf, Signature


class StaticReading(msgspec.Struct, frozen=True, kw_only=True):
    """What the source says.

    Attributes:
        signature: The entry point's. Where not even names could be told, it has no inputs and accepts extra ones of any name.
        complete: Whether it is what the worker will say once it has imported the code.
        notes: What could not be told or expressed exactly, a sentence each.
        has_setup: Whether the entry point is a class with a ``setup`` method.
    """

    signature: Signature
    complete: bool = True
    notes: tuple[str, ...] = ()
    has_setup: bool = False


def read_entry_point(project: Project, reference: Reference, mode: Mode) -> StaticReading:
    """Read an entry point of a project whose config has been read.

    Raises:
        ProjectError: It is not there, or is not Python.
    """
    return read_statically(
        project.root,
        reference.file,
        reference.name,
        mode.value,
        python_version=project.environment.python_version,
        takes_lists=project.batch is not None and mode is Mode.PREDICT,
    )


def read_statically(
    root: Path, file: str, name: str, mode: str, *, python_version: str | None = None, takes_lists: bool = False
) -> StaticReading:
    """Read the entry point ``file:name`` of a project.

    Args:
        root: The project's directory.
        file: Path of the source file in it.
        name: The class or function.
        mode: ``predict`` or ``train``.
        python_version: The Python that the project asks for. If it is newer than the one we run on, source that we cannot parse
            is no error.
        takes_lists: Whether it takes the inputs of several predictions as lists, unless it has a method of its own for that. Read
            is then what one prediction takes and gives.

    Raises:
        ProjectError: There is no such file, it is not Python, or it has no such entry point.
    """
    tree = SourceTree(root)
    try:
        source = tree.parse(file)
    except OSError as error:
        raise _unreadable(root, file, error) from error
    except (SyntaxError, ValueError) as error:
        if _is_newer_than_ours(python_version):
            return _nothing_certain(f"'{file}' is written for a newer Python than the one that drivetrain runs on")
        raise _not_python(file, error) from error
    return _read(tree, source, name, mode, takes_lists=takes_lists)


def _read(tree: SourceTree, source: SourceFile, name: str, mode: str, *, takes_lists: bool) -> StaticReading:
    entry_point = find_entry_point(tree, source, name, mode=mode)
    if entry_point is None:
        return _nothing_certain(f"what '{name}' in '{source.path}' is cannot be told from the source")
    reader = AnnotationReader()
    signature = read_function(entry_point, reader)
    if takes_lists and not entry_point.has_batch_method:
        signature = _one_of_each(signature)
    return StaticReading(signature=signature, complete=reader.complete, notes=tuple(reader.notes), has_setup=entry_point.has_setup)


def _one_of_each(signature: Signature) -> Signature:
    """The signature of one prediction; the rules are those of the worker's ``one_of_each``, so change that too.

    An input or output that is no list stays as it is: the worker refuses it, and says why.
    """
    output = signature.output.items if isinstance(signature.output, ListOf) else signature.output
    return replace(signature, inputs=tuple(map(_one, signature.inputs)), output=output)


def _one(field: Field) -> Field:
    if not isinstance(field.type, ListOf):
        return field
    default = next(iter(field.default), None) if isinstance(field.default, list) else field.default
    return replace(field, type=field.type.items, default=default)


def _nothing_certain(note: str) -> StaticReading:
    return StaticReading(signature=Signature(inputs=(), output=ANY, accepts_extra=True), complete=False, notes=(note,))


def _is_newer_than_ours(python_version: str | None) -> bool:
    numbers = (python_version or "").split(".")[:2]
    return len(numbers) == 2 and all(map(str.isdecimal, numbers)) and tuple(map(int, numbers)) > sys.version_info[:2]


def _unreadable(root: Path, file: str, error: OSError) -> ProjectError:
    if not isinstance(error, FileNotFoundError):
        return _project_error(
            "python-file-unreadable", f"'{file}' cannot be read: {error.strerror}", "make it a readable file", file
        )
    there = [path.relative_to(root).as_posix() for path in (root / file).parent.glob("*.py")]
    return _project_error("python-file-missing", f"'{file}' is not there", suggest(file, there, what="Python files"), file)


def _not_python(file: str, error: Exception) -> ProjectError:
    message, line = (error.msg, error.lineno) if isinstance(error, SyntaxError) else (str(error), None)
    return _project_error("python-syntax", f"'{file}' is not valid Python: {message}", "correct it", file, line)


def _project_error(code: str, problem: str, remedy: str, file: str, line: int | None = None) -> ProjectError:
    finding = Finding(severity=Severity.ERROR, code=code, problem=problem, remedy=remedy, file=file, line=line)
    return ProjectError(problem, findings=[finding], hint=remedy)
