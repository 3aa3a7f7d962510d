"""Put what a model gave where the user wants it: results to stdout, files beside the working directory."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from drivetrain.cli.terminal import Terminal
from drivetrain.model.errors import OutsideFailed
from drivetrain.model.json_value import put_in
from drivetrain.model.prediction import Event, Output, OutputFile, OutputValue, Prediction, Status
from drivetrain.serving.media_type import guess_suffix, guess_type

_DEFAULT_STEM = "output"


class FileNames:
    """Chooses where the files of one prediction go, and puts them there.

    Attributes:
        chosen: Whether the user named the place.
        summary_path: Where the object goes that ``--json`` gives, if the user named a file for it.

    Args:
        target: The path from ``-o``; ``None`` for the default.
        number: Which of several predictions it is, counted from 1, if there are several.
        has_summary: Whether a target that ends in ``.json`` is meant for that object. Files then go beside it, under its stem.
    """

    def __init__(self, target: Path | None, *, number: int | None = None, has_summary: bool = False) -> None:
        path = target if target is not None else Path(_DEFAULT_STEM)
        if path.is_dir():
            path = path / _DEFAULT_STEM
        self.summary_path = path if has_summary and path.suffix == ".json" else None
        self.chosen = target is not None and self.summary_path is None
        # "output.1" names no type; "output.png" does
        self._has_suffix = bool(path.suffix) and not path.suffix[1:].isdigit()
        self._stem = path.with_suffix("") if self._has_suffix else path
        self._suffix = path.suffix if self._has_suffix and self.summary_path is None else ""
        self._number = number

    def text_path(self, suffix: str) -> Path:
        """Where a result that is no file goes."""
        return self._path("", self._suffix or suffix)

    def place(self, file: OutputFile, pointer: tuple[str | int, ...]) -> Path:
        """Copy an output file to its place.

        Args:
            file: The file.
            pointer: Where in the prediction's whole output it is; a lone file's name has no middle part.

        Raises:
            OutsideFailed: It cannot be written.
        """
        middle = "".join(f".{_safe(part)}" for part in pointer)
        suffix = self._suffix or file.path.suffix or guess_suffix(guess_type(file.name))
        path = self._path(middle, suffix)
        if path == self.summary_path:  # which is written last
            path = self._path(f".{_DEFAULT_STEM}", suffix)
        try:
            shutil.copyfile(file.path, path)
        except OSError as error:
            raise OutsideFailed(f"cannot write the output to '{path}': {error.strerror or error}") from error
        return path

    def _path(self, middle: str, suffix: str) -> Path:
        number = f".{self._number}" if self._number is not None else ""
        return self._stem.with_name(self._stem.name + number + middle + suffix)


def _safe(part: str | int) -> str:
    return re.sub(r"[^\w-]+", "_", str(part))


class Printer:
    """Prints a prediction's output while it comes; results to stdout, all else to the terminal.

    Args:
        terminal: For messages.
        names: Where files go.
        concatenates: Whether the items of the output are pieces of one text.
    """

    def __init__(self, terminal: Terminal, names: FileNames, *, concatenates: bool, streams: bool) -> None:
        self._terminal = terminal
        self._names = names
        self._concatenates = concatenates
        self._streams = streams
        self._index = 0
        self._ends_line = True

    def watch(self, event: Event) -> None:
        """Print an item as it comes."""
        if isinstance(event, Output):
            prefix = (self._index,) if self._streams else ()
            self._index += 1
            self._print(event.output, prefix)

    def print_all(self, prediction: Prediction) -> None:
        """Print every item of a prediction that has ended."""
        for output in prediction.outputs:
            self.watch(Output(output=output))

    def finish(self) -> None:
        """End an unfinished line; say so if there was nothing to print."""
        if not self._ends_line:
            _write("\n")
        if self._index == 0:
            self._terminal.warn("the model gave no output")

    def _print(self, output: OutputValue, prefix: tuple[str | int, ...]) -> None:
        value, paths = place_files(output, self._names, prefix)
        for path in paths:
            self._terminal.note(f"Written output to: {path}")
        if _is_only_files(output):
            return
        if value is None and not self._streams:
            self._terminal.warn("the model gave no output")
            return
        text = value if isinstance(value, str) else _pretty(value)
        end = "" if self._concatenates else "\n"
        _write(text + end)
        if text + end:
            self._ends_line = (text + end).endswith("\n")


def _is_only_files(output: OutputValue) -> bool:
    """Whether nothing is left to print once the files are in their places: a lone file, or a list of files."""
    pointers = [file.pointer for file in output.files]
    return pointers == [()] or (
        isinstance(output.value, list) and pointers == [(index,) for index in range(len(output.value))] != []
    )


def place_files(output: OutputValue, names: FileNames, prefix: tuple[str | int, ...]) -> tuple[Any, list[Path]]:
    """Put an output's files in their places; the value then holds their paths.

    A file has its place in the output in its name, but not the only one in an object when the user named the file.
    """
    if not output.files:
        return output.value, []
    is_the_file_asked_for = names.chosen and len(output.files) == 1 and isinstance(output.value, dict)
    placed = {
        file.pointer: names.place(file, prefix if is_the_file_asked_for else (*prefix, *file.pointer)) for file in output.files
    }
    return put_in(output.value, {pointer: str(path) for pointer, path in placed.items()}), list(placed.values())


def summarise(prediction: Prediction, names: FileNames) -> dict[str, Any]:
    """The object that ``--json`` gives: status, output, error and metrics; files are put in their places."""
    return {
        "status": prediction.status.value,
        "output": _whole_output(prediction, names),
        "error": prediction.failure.message if prediction.failure else None,
        "metrics": {**prediction.metrics, "predict_time": prediction.predict_seconds},
    }


def _whole_output(prediction: Prediction, names: FileNames) -> Any:
    values = [
        place_files(output, names, (index,) if prediction.streams else ())[0] for index, output in enumerate(prediction.outputs)
    ]
    if prediction.streams:
        return values if values or prediction.status is Status.SUCCEEDED else None
    return values[-1] if values else None


def deliver_summary(
    prediction: Prediction, names: FileNames, terminal: Terminal, *, indent: bool, known_as: Mapping[str, Any] | None = None
) -> None:
    """Give the user the object that ``--json`` asks for, in the file that he named for it or else on stdout.

    Args:
        prediction: Has ended.
        names: Where its files go.
        terminal: Where to tell of it.
        indent: Whether stdout is for people.
        known_as: Members to begin with.

    Raises:
        OutsideFailed: A file cannot be written.
    """
    summary = {**(known_as or {}), **summarise(prediction, names)}
    if names.summary_path is None:
        write_json(summary, indent=indent)
        return
    _write_file(names.summary_path, _pretty(summary) + "\n")
    terminal.note(f"Written output to: {names.summary_path}")


def write_json(value: Any, *, indent: bool) -> None:
    """Print a JSON value to stdout."""
    _write((_pretty(value) if indent else msgspec.json.encode(value).decode()) + "\n")


def write_result(prediction: Prediction, names: FileNames, *, concatenates: bool) -> Path:
    """Write a result that is no file to a file: texts as they are, everything else as JSON.

    Raises:
        OutsideFailed: It cannot be written.
    """
    values = [output.value for output in prediction.outputs]
    value: Any = "".join(map(str, values)) if concatenates else values if prediction.streams else values[-1]
    is_text = isinstance(value, str)
    path = names.text_path("" if is_text else ".json")
    _write_file(path, value if is_text else _pretty(value) + "\n")
    return path


def has_files(prediction: Prediction) -> bool:
    """Whether any output refers to a file."""
    return any(output.files for output in prediction.outputs)


def _pretty(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _write_file(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutsideFailed(f"cannot write the output to '{path}': {error.strerror or error}") from error


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
