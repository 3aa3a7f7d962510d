"""The ``file.py:Name`` values of cog.yaml."""

from __future__ import annotations

from posixpath import normpath

from drivetrain.dialects.cog.findings import Findings
from drivetrain.dialects.cog.section import Text, shortened
from drivetrain.model.project import Reference


def read_reference(key: str, value: Text | None, default_name: str, findings: Findings) -> Reference | None:
    """The entry point a key names.

    Args:
        key: The key, for messages.
        value: What it holds.
        default_name: The name to propose where one is missing.
        findings: Takes what is wrong.
    """
    if value is None:
        return None
    file, colon, name = value.text.partition(":")
    if colon and file.endswith(".py") and len(file) > len(".py") and name.isidentifier():
        return _within_project(key, file, name, value, findings)
    findings.error(
        "reference",
        f"'{key}: {shortened(value.text)}' is not of the form 'file.py:Name'",
        f"write '{key}: {_likely_reference(value.text, default_name)}'",
        value.line,
    )
    return None


def path_within_project(key: str, path: str, line: int, findings: Findings) -> str | None:
    """The path in its shortest form; ``None``, with an error, if it leaves the project's directory."""
    normal = normpath(path)
    if not path.startswith("/") and normal != ".." and not normal.startswith("../"):
        return normal
    findings.error(
        "outside-project",
        f"'{key}' names '{shortened(path)}', which is outside the project's directory",
        "move it into the project, and write its path from there",
        line,
    )
    return None


def _within_project(key: str, file: str, name: str, value: Text, findings: Findings) -> Reference | None:
    path = path_within_project(key, file, value.line, findings)
    return Reference(file=path, name=name) if path is not None else None


def _likely_reference(text: str, default_name: str) -> str:
    """What the author probably meant."""
    file, _, rest = text.partition(":")
    stem = file.strip().removesuffix(".py").replace("\\", "/")
    if "/" not in stem:
        stem = stem.replace(".", "/")
    name = rest.partition(":")[0].strip()
    if not stem or not all(part.isidentifier() for part in stem.split("/")):
        stem = "predict"
    return f"{stem}.py:{name if name.isidentifier() else default_name}"
