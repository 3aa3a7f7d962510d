"""A cog.yaml as JSON, the form in which images carry it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from drivetrain.dialects.cog.findings import Findings
from drivetrain.dialects.cog.text_file import decode
from drivetrain.dialects.cog.yaml_nodes import Mapping, Node, Scalar, Sequence, parse_yaml

#: Keys whose value is text even where it looks like a number.
_TEXTS = frozenset({"python_version", "cuda", "cudnn", "sdk_version", "image", "model"})

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_BOOLEANS = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False}


def config_as_json(file: Path) -> dict[str, Any]:
    """The content of a config file that has been read without errors before."""
    findings = Findings(str(file))
    text = decode(file.read_bytes(), findings)
    node = parse_yaml(text, findings) if text is not None else None
    value = _value(node, "") if node is not None else {}
    return value if isinstance(value, dict) else {}


def _value(node: Node, key: str) -> Any:
    if isinstance(node, Mapping):
        return {name: _value(entry.value, name) for name, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [_value(item, key) for item in node.items]
    return _scalar(node, key)


def _scalar(node: Scalar, key: str) -> Any:
    if node.is_null:
        return None
    if not node.plain or key in _TEXTS:
        return node.text
    if (boolean := _BOOLEANS.get(node.text.lower())) is not None:
        return boolean
    if _INTEGER.fullmatch(node.text):
        return int(node.text)
    return float(node.text) if _NUMBER.fullmatch(node.text) else node.text
