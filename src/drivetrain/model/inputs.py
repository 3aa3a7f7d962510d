"""Check the inputs of a prediction against a signature, and put them into the form the model gets them in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import msgspec

from drivetrain.model.errors import BadRequest
from drivetrain.model.examination import Examination, FilePlace, LocalFile, Problem
from drivetrain.model.json_value import Pointer, put_in
from drivetrain.model.signature import Signature
from drivetrain.model.text_inputs import parse_text
from drivetrain.model.type_check import FieldsCheck, check_any

__all__ = [
    "CheckedInputs",
    "FilePlace",
    "InputChecker",
    "InvalidInputs",
    "LocalFile",
    "Problem",
    "check_inputs",
    "parse_text",
    "replace_places",
]

_MASK = "*" * 10


class InvalidInputs(BadRequest):
    """The inputs do not fit the signature.

    Args:
        problems: Everything that is wrong with them.
        ignored: Names that were given and are not known.
    """

    code = "invalid_inputs"

    def __init__(self, problems: Sequence[Problem], *, ignored: Sequence[str] = ()) -> None:
        hint = f"these are not inputs of the model: {', '.join(map(repr, ignored))}" if ignored else None
        super().__init__("invalid input " + "; ".join(map(str, problems)), hint=hint)
        self.problems = tuple(problems)


class CheckedInputs(msgspec.Struct, frozen=True, kw_only=True):
    """Inputs that fit.

    Attributes:
        values: As the model gets them. What was not given is not in it: the author's own defaults apply.
        ignored: Names that were given and are not known.
        files: Where the model expects files.
        secrets: Where secrets are.
    """

    values: dict[str, Any]
    ignored: tuple[str, ...] = ()
    files: tuple[FilePlace, ...] = ()
    secrets: tuple[Pointer, ...] = ()

    @property
    def shown(self) -> dict[str, Any]:
        """The values for showing to people and clients: secrets masked, files of this machine by their bare names."""
        hidden: dict[Pointer, Any] = dict.fromkeys(self.secrets, _MASK)
        hidden |= {place.pointer: PurePath(place.value).name for place in self.files if place.is_local}
        return dict(put_in(self.values, hidden)) if hidden else self.values


class InputChecker:
    """Checks inputs against one signature; made once, it checks small inputs in microseconds.

    Args:
        signature: What to check against.

    Raises:
        ProjectError: The author's regular expression is not one.
    """

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self._check_fields = FieldsCheck(signature.inputs)

    def check(self, values: Mapping[str, Any], *, strict: bool = False, local_files: bool = False) -> CheckedInputs:
        """Check and coerce JSON values.

        Args:
            values: What was given.
            strict: Refuse names that are not known, instead of ignoring them.
            local_files: Let strings name files of this machine, with or without ``@`` before them, where the model expects a file.

        Raises:
            InvalidInputs: With every problem there is.
        """
        examination = Examination(local_files)
        checked, unknown = self._check_fields(values, (), examination)
        if unknown and self.signature.accepts_extra:
            checked.update((name, check_any(values[name], (name,), examination)) for name in unknown)
            unknown = []
        if unknown and strict:
            examination.problems += (_unknown_input(name, self.signature) for name in unknown)
            unknown = []
        if examination.problems:
            raise InvalidInputs(examination.problems, ignored=unknown)
        return CheckedInputs(
            values=checked, ignored=tuple(unknown), files=tuple(examination.files), secrets=tuple(examination.secrets)
        )


def check_inputs(
    signature: Signature, values: Mapping[str, Any], *, strict: bool = False, local_files: bool = False
) -> CheckedInputs:
    """``InputChecker.check`` for inputs of a signature that is used once."""
    return InputChecker(signature).check(values, strict=strict, local_files=local_files)


def replace_places(values: Mapping[str, Any], replacements: Mapping[FilePlace, str]) -> dict[str, Any]:
    """New inputs with other values in some places; ``values`` stay as they are."""
    return dict(put_in(values, {place.pointer: value for place, value in replacements.items()}))


def _unknown_input(name: str, signature: Signature) -> Problem:
    import difflib  # only needed on this path, and slow to import

    known = [field.name for field in signature.inputs]
    nearest = next(iter(difflib.get_close_matches(name, known, n=1)), None)
    hint = f"did you mean '{nearest}'?" if nearest else f"the model has {', '.join(map(repr, known)) or 'no inputs'}"
    return Problem(location=(name,), message=f"is not an input of the model; {hint}", type="unknown", nearest=nearest)
