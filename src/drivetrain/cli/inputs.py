"""Inputs from the command line: ``-i name=value``, ``--json`` and ``--batch``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from drivetrain.model.errors import Misuse
from drivetrain.model.inputs import LocalFile

TextInputs: TypeAlias = dict[str, list[str | LocalFile]]


def split_inputs(texts: tuple[str, ...]) -> TextInputs:
    """Turn ``name=value`` and ``name=@path`` texts into raw values by name; a name may be repeated.

    Raises:
        Misuse: One is not ``name=value``, or names a file that cannot be read; all of them at once.
    """
    inputs: TextInputs = {}
    problems = []
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            problems.append(f"'{text}' is not of the form name=value")
        elif value.startswith("@") and (problem := _file_problem(value[1:])):
            problems.append(f"input '{name}': {problem}")
        else:
            inputs.setdefault(name, []).append(_raw_value(value))
    if problems:
        raise Misuse("; ".join(problems), hint="inputs are given as -i name=value, or -i name=@path for a file")
    return inputs


def _raw_value(value: str) -> str | LocalFile:
    if value.startswith("@"):
        return LocalFile(str(Path(value[1:]).expanduser().absolute()))
    return value


def _file_problem(path: str) -> str | None:
    file = Path(path).expanduser()
    if file.is_dir():
        return f"'{path}' is a directory"
    if not file.exists():
        return f"there is no file '{path}'"
    try:
        file.open("rb").close()
    except OSError as error:
        return f"cannot read '{path}': {error.strerror}"
    return None


def read_json_inputs(source: str) -> Mapping[str, Any]:
    """Inputs as one JSON object: the text itself, ``@file``, or ``-`` for standard input.

    Raises:
        Misuse: It is not a JSON object, or the file cannot be read.
    """
    import msgspec

    text = _read_source(source)
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise Misuse(f"--json is not JSON: {error}", hint="""for example --json '{"prompt": "a horse"}'""") from error
    if not isinstance(value, dict):
        raise Misuse("--json must be an object with the inputs by name")
    return value


def _read_source(source: str) -> str:
    if source in ("-", "@-"):
        return sys.stdin.read()
    if not source.startswith("@"):
        return source
    try:
        return Path(source[1:]).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misuse(f"cannot read '{source[1:]}': {getattr(error, 'strerror', None) or error}") from error


def read_batch(path: Path) -> list[Mapping[str, Any]]:
    """Inputs of several predictions: a file with one JSON object a line.

    Raises:
        Misuse: The file cannot be read, or lines are not JSON objects; all of them at once.
    """
    import msgspec

    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # not ``splitlines``: its other ends of lines may be in JSON texts
    except (OSError, UnicodeDecodeError) as error:
        raise Misuse(f"cannot read '{path}': {getattr(error, 'strerror', None) or error}") from error
    inputs: list[Mapping[str, Any]] = []
    problems = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = msgspec.json.decode(line)
        except msgspec.DecodeError as error:
            problems.append(f"line {number}: {error}")
            continue
        if isinstance(value, dict):
            inputs.append(value)
        else:
            problems.append(f"line {number} is not an object")
    if problems:
        raise Misuse(f"'{path}' must have one JSON object a line: " + "; ".join(problems))
    if not inputs:
        raise Misuse(f"'{path}' has no inputs")
    return inputs
