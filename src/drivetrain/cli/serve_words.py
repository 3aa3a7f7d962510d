"""Reads what ``drivetrain serve`` is told about a project, where it is told in plain words, without the command line's library.

That library is right about every command line, and importing it takes longer than everything else until the worker starts. So words
that can mean one thing only are read here. Whatever else there is (an image, a value that does not fit, ``--help``, an option that
is not in the tables) is not read here at all, and left to the library, which also has the words for what is wrong. A test compares
both readings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_FLAGS: Mapping[str, str] = {
    "--reload": "reloads",
    "--allow-private-addresses": "allow_private",
    "--stream-marked-only": "stream_marked_only",
}

_TEXTS: Mapping[str, str] = {
    "--host": "host",
    "-f": "config_name",
    "--file": "config_name",
    "--upload-url": "upload_url",
    "--cors-origin": "cors_origin",
}

_CHOICES: Mapping[str, tuple[str, frozenset[str]]] = {
    "--env": ("realisation", frozenset({"venv", "host"})),
    "--snapshot": ("snapshot", frozenset({"auto", "off", "imports", "after-setup"})),
    "--x-mode": ("mode", frozenset({"predict", "train"})),
}

#: The largest and smallest that each may be.
_NUMBERS: Mapping[str, tuple[str, int, int]] = {
    "-p": ("port", 0, 65535),
    "--port": ("port", 0, 65535),
    "--workers": ("workers", 1, 256),
    "--queue": ("queue", 0, 1_000_000),
    "--max-predictions": ("max_predictions", 1, 1_000_000_000),
    "--max-body-size": ("body_megabytes", 1, 1_000_000),
}

_VARIABLES = ("-e", "--environment")


def read_words(arguments: Sequence[str]) -> dict[str, object] | None:
    """What the words after ``drivetrain`` say of a ``ServeLine``, if they serve a project and can be read here."""
    if not arguments or arguments[0] != "serve":
        return None
    said: dict[str, object] = {}
    variables: list[str] = []
    rest = iter(arguments[1:])
    for word in rest:
        if word in _FLAGS:
            said[_FLAGS[word]] = True
            continue
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if not equals:
            value = next(rest, "")
        if not value or value.startswith("-"):
            return None
        if name in _VARIABLES:
            variables.append(value)
        elif (read := _read(name, value)) is not None:
            said.update((read,))
        else:
            return None
    return {**said, "variables": tuple(variables)} if variables else said


def _read(name: str, value: str) -> tuple[str, object] | None:
    if name in _TEXTS:
        return _TEXTS[name], value
    if name in _CHOICES:
        parameter, choices = _CHOICES[name]
        return (parameter, value) if value in choices else None
    if name in _NUMBERS and value.isascii() and value.isdecimal() and len(value) < 10:
        parameter, least, most = _NUMBERS[name]
        return (parameter, int(value)) if least <= int(value) <= most else None
    return None
