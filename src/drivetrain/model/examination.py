"""What is seen while inputs are checked: problems, files and secrets, each with its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import Any, TypeAlias

import msgspec

from drivetrain.model.json_value import Pointer
from drivetrain.model.signature import Kind


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why one value does not fit.

    Attributes:
        location: Names and indexes that lead to it.
        message: The rest of a sentence that begins with what is there.
        type: What is wrong, in one word for programs.
        nearest: For an unknown name, the known one that looks most like it.
    """

    location: Pointer
    message: str
    type: str
    nearest: str | None = None

    def __str__(self) -> str:
        return f"'{write_location(self.location)}': {self.message}"


class LocalFile(msgspec.Struct, frozen=True):
    """Stands among values for a file of this machine that the asker named as one, where a string would be ambiguous."""

    path: str

    def __str__(self) -> str:
        return f"the file '{PurePath(self.path).name}'"  # where it lies is nobody's business


class FilePlace(msgspec.Struct, frozen=True, kw_only=True):
    """A place in checked inputs where the model expects a file.

    Attributes:
        pointer: Names and indexes that lead to it.
        kind: ``PATH`` or ``FILE``.
        value: An ``http:``, ``https:`` or ``data:`` URL, or a path on this machine.
        is_local: Whether it is a path on this machine.
    """

    pointer: Pointer
    kind: Kind
    value: str
    is_local: bool = False

    def __str__(self) -> str:
        return write_location(self.pointer)


class Examination(msgspec.Struct):
    """What has been seen while checking one set of inputs. Owned by the checker for the length of one check.

    Attributes:
        local_files: Whether strings may name files of this machine.
    """

    local_files: bool = False
    problems: list[Problem] = []
    files: list[FilePlace] = []
    secrets: list[Pointer] = []

    def refuse(self, location: Pointer, type_: str, message: str) -> None:
        """Write a problem down."""
        self.problems.append(Problem(location=location, type=type_, message=message))

    def attempt(self, check: Check, value: Any, location: Pointer) -> tuple[bool, Any]:
        """Run a check that may fail without harm. Whether the value fits, and the checked value."""
        trial = Examination(self.local_files)
        checked = check(value, location, trial)
        if trial.problems:
            return False, None
        self.files += trial.files
        self.secrets += trial.secrets
        return True, checked


Check: TypeAlias = Callable[[Any, Pointer, Examination], Any]


def write_location(location: Pointer) -> str:
    """A location as one writes it in code: ``points[2].x``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location).removeprefix(".")
