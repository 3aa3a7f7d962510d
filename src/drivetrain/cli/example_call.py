"""Calls of an app that can be pasted: by drivetrain's command, by curl, by Replicate's Python client."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from drivetrain.model.signature import EnumOf, Field, Kind, ListOf, OptionalOf, Plain, Signature, Type, UnionOf

_SAMPLES: Mapping[Kind, Any] = {
    Kind.STRING: "text",
    Kind.INTEGER: 1,
    Kind.NUMBER: 1.0,
    Kind.BOOLEAN: True,
    Kind.NULL: None,
    Kind.ANY: "anything",
    Kind.OBJECT: {},
    Kind.SECRET: "secret",
}
_FILES = (Kind.PATH, Kind.FILE)


def example_calls(app: str, signature: Mapping[str, Any] | None, url: str) -> list[str]:
    """Three calls, with values for what an app cannot do without.

    Args:
        signature: The app's, in its wire form, if it is known.
        url: The platform's.
    """
    fields = Signature.from_wire(signature).inputs if signature is not None else ()
    inputs = [field for field in fields if field.required] or list(fields[:1])
    values = {field.name: _sample(field.type, field) for field in inputs}
    files = {field.name for field in inputs if _is_file(field.type)}
    return [_command(app, values, files), "", _curl(app, values, files, url), "", _python(app, values, files, url)]


def _command(app: str, values: Mapping[str, Any], files: set[str]) -> str:
    words = ["drivetrain", "call", app]
    for name, value in values.items():
        text = "@file" if name in files else value if isinstance(value, str) else json.dumps(value)
        words += ["-i", f"{name}={text}"]
    return shlex.join(words)


def _curl(app: str, values: Mapping[str, Any], files: set[str], url: str) -> str:
    body = json.dumps(
        {"input": {name: "https://…" if name in files else value for name, value in values.items()}}, ensure_ascii=False
    )
    return (
        f"curl -s '{url}/api/v1/apps/{app}/predictions?wait' \\\n"
        "  -H \"Authorization: Bearer $DRIVETRAIN_API_KEY\" -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(body)}"
    )


def _python(app: str, values: Mapping[str, Any], files: set[str], url: str) -> str:
    items = ", ".join(f"{name!r}: " + ("open('file', 'rb')" if name in files else repr(value)) for name, value in values.items())
    return (
        "# pip install replicate\n"
        "import os, replicate\n"
        f"client = replicate.Client(base_url={url!r}, api_token=os.environ['DRIVETRAIN_API_KEY'])\n"
        f"print(client.run({app!r}, input={{{items}}}))"
    )


def _sample(type_: Type, field: Field | None = None) -> Any:
    if field is not None:
        if field.choices:
            return field.choices[0]
        if field.default is not None:
            return field.default
        if field.ge is not None:
            return int(field.ge) if float(field.ge).is_integer() else field.ge
    match type_:
        case Plain(kind):
            return _SAMPLES.get(kind, "https://…")
        case OptionalOf(inner):
            return _sample(inner)
        case ListOf(items):
            return [_sample(items)]
        case UnionOf(members):
            return _sample(members[0])
        case EnumOf(_, allowed):
            return allowed[0]
    return {}


def _is_file(type_: Type) -> bool:
    return (isinstance(type_, Plain) and type_.kind in _FILES) or (isinstance(type_, OptionalOf) and _is_file(type_.of))
