"""Does the code import what every release of Cog has, from where it is?"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import partial

from drivetrain.dialects.cog.doctor.case import Case, PythonFile
from drivetrain.dialects.cog.doctor.diagnosis import Diagnosis
from drivetrain.dialects.cog.doctor.python_edits import change_module
from drivetrain.model.finding import Severity

#: Names that ``cog`` itself has in both generations.
COMMON_NAMES = frozenset(
    ("AsyncConcatenateIterator", "BaseModel", "BasePredictor", "ConcatenateIterator", "File", "Input", "Path", "Secret")
) | {"current_scope"}
#: Names that it has in newer releases only.
NEWER_NAMES = frozenset(
    ("BaseRunner", "CancelationException", "FieldInfo", "Opaque", "URLFile", "URLPath", "concurrent", "streaming", "__version__")
)
#: Names that it has still, and the newest releases complain of.
FADING_NAMES = {
    "ExperimentalFeatureWarning": "remove it: nothing is experimental any more",
    "emit_metric": "write 'current_scope().record_metric(name, value)'",
}
#: Names of before release 0.1.
_ANCIENT_NAMES = {
    "Predictor": "derive from 'BasePredictor'",
    "input": "annotate the parameters of 'predict', and describe them with 'Input(...)'",
}

#: Modules that are to be imported from here, of whatever generation.
KNOWN_MODULES = frozenset(
    (
        "types",
        "predictor",
        "base_predictor",
        "files",
        "coder",
        "json",
        "mimetypes_ext",
        "server",
        "command",
        "errors",
        "input",
        "model",
    )
)
#: Modules that Cog 0.17 and later have not.
_GONE_MODULES = frozenset(
    ("cog.base_predictor", "cog.files", "cog.json", "cog.mimetypes_ext", "cog.command", "cog.server.scope", "cog.server.exceptions")
)


def deprecated_imports(case: Case) -> Iterator[Diagnosis]:
    """Imports that fail, or that fail elsewhere."""
    for source in case.sources:
        if source.scope.tree.module("cog") is not None:  # the project has a 'cog' of its own
            return
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ImportFrom) and not node.level and node.module is not None:
                yield from _imported(source, node, node.module)
            elif isinstance(node, ast.Attribute) and source.scope.external_name(node.value) == "cog":
                yield from _named(source, node.attr, node.lineno)


def _imported(source: PythonFile, node: ast.ImportFrom, module: str) -> Iterator[Diagnosis]:
    if module == "cog":
        for alias in node.names:
            yield from _named(source, alias.name, node.lineno)
    elif module.startswith("cog."):
        yield from _moved(source, node, module)


def _moved(source: PythonFile, node: ast.ImportFrom, module: str) -> Iterator[Diagnosis]:
    names = {alias.name for alias in node.names}
    is_gone = module in _GONE_MODULES or module.startswith("cog.command.")
    if not names <= COMMON_NAMES | NEWER_NAMES and not is_gone:
        return
    here = partial(
        Diagnosis,
        severity=Severity.WARNING if is_gone else Severity.NOTE,
        problem=f"'{module}' works here, but {'is gone in Cog 0.17 and later' if is_gone else 'is no public module of Cog'}",
        file=source.name,
        line=node.lineno,
    )
    if names <= COMMON_NAMES:
        yield here(remedy=f"write 'from cog import {', '.join(sorted(names))}'", edits=change_module(source, node, "cog"))
    elif names <= COMMON_NAMES | NEWER_NAMES:
        yield here(remedy=f"for Cog 0.17 and later, write 'from cog import {', '.join(sorted(names))}'")
    else:
        yield here(remedy="do without it, if the project shall run there too")


def _named(source: PythonFile, name: str, line: int) -> Iterator[Diagnosis]:
    here = partial(Diagnosis, file=source.name, line=line)
    if name in _ANCIENT_NAMES:
        yield here(severity=Severity.ERROR, problem=f"'cog.{name}' was given up before Cog 0.1", remedy=_ANCIENT_NAMES[name])
    elif name in FADING_NAMES:
        yield here(severity=Severity.NOTE, problem=f"'cog.{name}' is deprecated", remedy=FADING_NAMES[name])
    elif name not in COMMON_NAMES | NEWER_NAMES | KNOWN_MODULES | {"*"}:
        yield here(severity=Severity.ERROR, problem=f"'cog' has no '{name}'", remedy="correct the name, or remove it")
