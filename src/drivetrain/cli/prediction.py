"""Predictions (or trainings) of a project from the command line: what ``run`` and ``train`` share.

What drives a worker is imported only once the worker has been started, so that the two load at the same time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from drivetrain.cli.opening import Opening
from drivetrain.cli.terminal import Terminal
from drivetrain.model.project import Mode
from drivetrain.serving.launch import launch

if TYPE_CHECKING:
    from drivetrain.cli.outputs import FileNames
    from drivetrain.model.inputs import FilePlace, Problem
    from drivetrain.model.signature import Signature


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asked for.

    Attributes:
        mode: Predictions or trainings.
        inputs: One set of inputs for each prediction, as texts by name or as JSON values.
        target: Where output goes, from ``-o``.
        as_json: Whether to give one JSON object for each prediction instead of its output.
        is_batch: Whether there may be several predictions.
        setup_timeout: How long set-up may take.
    """

    mode: Mode
    inputs: Sequence[Inputs]
    target: Path | None
    as_json: bool
    is_batch: bool
    setup_timeout: timedelta

    def file_names(self, number: int) -> FileNames:
        """Where the files of one of the predictions go, counted from 1."""
        from drivetrain.cli.outputs import FileNames

        if self.is_batch:
            return FileNames(self.target, number=number)
        return FileNames(self.target, has_summary=self.as_json and self.mode is Mode.PREDICT)


class Inputs:
    """Inputs of one prediction as the user gave them: texts that take their type from the signature, or JSON values."""

    def __init__(self, texts: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        self._texts = texts
        self._values = values

    def check(self, signature: Signature) -> Mapping[str, Any]:
        """Inputs as JSON values that fit the signature.

        Raises:
            InvalidInputs: They do not, or name files that are not there; all problems at once.
        """
        from drivetrain.model.inputs import InputChecker, InvalidInputs, parse_text

        values = {**self._values, **parse_text(signature, self._texts)}
        checked = InputChecker(signature).check(values, local_files=True, strict=True)
        if missing := [problem for place in checked.files if (problem := _find_missing(place))]:
            raise InvalidInputs(missing)
        return values

    def as_given(self) -> Mapping[str, Any]:
        """Inputs for a model whose signature is not known: texts stay texts."""
        texts = {name: [str(value) for value in values] for name, values in self._texts.items()}
        return {**self._values, **{name: each[0] if len(each) == 1 else each for name, each in texts.items()}}


def _find_missing(place: FilePlace) -> Problem | None:
    from drivetrain.model.inputs import Problem

    if not place.is_local or Path(place.value).is_file():
        return None
    return Problem(location=place.pointer, message=f"names '{place.value}', where there is no file", type="file")


def carry_out(opening: Opening, order: Order, terminal: Terminal) -> int:
    """Check, prepare, run, print; the exit status.

    Inputs are checked against the signature as it stands in the code before anything is built or started.
    """
    from drivetrain.dialects.cog.static_reading import read_entry_point

    reading = read_entry_point(opening.project, opening.entry_point(order.mode), order.mode)
    for inputs in order.inputs:
        inputs.check(reading.signature)
    command = opening.command(opening.environment(terminal), order.mode)
    launched = launch(command)  # the model loads while we import what drives it
    from drivetrain.cli.driving import drive

    return drive(opening, order, terminal, command, launched)
