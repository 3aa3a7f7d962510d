"""The source files that an entry point comes with: its own, and those of the project that it imports."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator

from drivetrain.dialects.cog.doctor.case import PythonFile
from drivetrain.dialects.cog.static.scope import Scope
from drivetrain.dialects.cog.static.source import Import, SourceFile, SourceTree

#: A project may carry a whole library along. What its author wrote is near the entry point.
MOST_FILES = 200


def read_sources(tree: SourceTree, files: Iterable[str]) -> tuple[PythonFile, ...]:
    """Files and what they import of the project, nearest first. Those that cannot be read are left out.

    Args:
        tree: The project's source files.
        files: Paths from the project's root to begin with.
    """
    pending = [source for file in dict.fromkeys(files) if (source := _parsed(tree, file)) is not None]
    found: dict[str, PythonFile] = {}
    while pending and len(found) < MOST_FILES:
        source = pending.pop(0)
        if source.path not in found:
            found[source.path] = _python_file(tree, source)
            pending.extend(_imported(tree, source, found[source.path].tree))
    return tuple(found.values())


def _parsed(tree: SourceTree, file: str) -> SourceFile | None:
    try:
        return tree.parse(file)
    except (OSError, SyntaxError, ValueError):  # told by the check of the entry point
        return None


def _python_file(tree: SourceTree, source: SourceFile) -> PythonFile:
    path = tree.root / source.path
    content = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = ast.parse(content)
    return PythonFile(path=path, name=source.path, content=content, tree=module, scope=Scope(tree, source))


def _imported(tree: SourceTree, importer: SourceFile, module: ast.Module) -> Iterator[SourceFile]:
    for node in ast.walk(module):
        for name in _module_names(tree, importer, node):
            if (source := tree.module(name)) is not None:
                yield source


def _module_names(tree: SourceTree, importer: SourceFile, node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            parts = alias.name.split(".")
            yield from (".".join(parts[: count + 1]) for count in range(len(parts)))  # packages are imported with their modules
    elif isinstance(node, ast.ImportFrom):
        base = tree.imported_module(Import(module=node.module or "", level=node.level), importer)
        yield from (base, *(f"{base}.{alias.name}".lstrip(".") for alias in node.names))
