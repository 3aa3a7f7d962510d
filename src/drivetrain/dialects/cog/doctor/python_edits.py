"""Precise edits of Python source: found by the syntax tree, made in the bytes."""

from __future__ import annotations

import ast
import codecs
import re

from drivetrain.dialects.cog.doctor.case import PythonFile
from drivetrain.dialects.cog.doctor.edit import Edit

_MODULE = re.compile(rb"from\s+([\w.]+)\s+import\b")


def change_module(source: PythonFile, node: ast.ImportFrom, module: str) -> tuple[Edit, ...]:
    """Import the same names from another module; nothing if that cannot be done with certainty."""
    span = _span(source, node)
    match = _MODULE.match(source.content, *span) if span is not None else None
    if match is None:
        return ()
    return (Edit(path=source.path, start=match.start(1), end=match.end(1), text=module),)


def make_optional(source: PythonFile, annotation: ast.expr) -> tuple[Edit, ...]:
    """Put ``Optional[…]`` around an annotation, and import it; nothing if that cannot be done with certainty."""
    span = _span(source, annotation)
    imported = _import_optional(source)
    if span is None or imported is None:
        return ()
    start, end = span
    return (
        Edit(path=source.path, start=start, end=start, text="Optional["),
        Edit(path=source.path, start=end, end=end, text="]"),
        *imported,
    )


def _import_optional(source: PythonFile) -> tuple[Edit, ...] | None:
    """What makes ``Optional`` known; ``None`` if the name stands for something else."""
    meaning = source.scope.external_name(ast.Name(id="Optional", ctx=ast.Load()))
    if meaning in ("typing.Optional", "typing_extensions.Optional"):
        return ()
    if "Optional" in source.scope.source.bindings:
        return None
    imports = [node for node in source.tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    typing = next(
        (node for node in imports if isinstance(node, ast.ImportFrom) and node.module == "typing" and not node.level), None
    )
    if typing is not None:
        return _insert(source, typing.names[-1], ", Optional", after=True)
    first = next((node for node in imports if not _is_future(node)), None)
    return _insert(source, first, f"from typing import Optional{_line_ending(source)}", after=False) if first is not None else None


def _insert(source: PythonFile, node: ast.stmt | ast.alias, text: str, *, after: bool) -> tuple[Edit, ...] | None:
    span = _span(source, node)
    if span is None:
        return None
    place = span[1] if after else span[0]
    return (Edit(path=source.path, start=place, end=place, text=text),)


def _is_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _line_ending(source: PythonFile) -> str:
    return "\r\n" if b"\r\n" in source.content else "\n"


def _span(source: PythonFile, node: ast.expr | ast.stmt | ast.alias) -> tuple[int, int] | None:
    """Offsets of a node in the file's bytes; ``None`` if these are not plain UTF-8, which the columns of the tree count in."""
    if source.content.startswith(codecs.BOM_UTF8) or node.end_lineno is None or node.end_col_offset is None:
        return None
    try:
        source.content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    lines = source.content.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
