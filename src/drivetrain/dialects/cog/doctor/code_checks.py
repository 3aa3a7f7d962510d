"""Does the code do what goes well in an image or by itself, and ill here?"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from drivetrain.dialects.cog.doctor.case import Case, PythonFile
from drivetrain.dialects.cog.doctor.diagnosis import Diagnosis
from drivetrain.dialects.cog.section import shortened
from drivetrain.model.finding import Severity

#: The path, where it stands alone or in a command.
_SRC = re.compile(r"(?:^|[\s='\":,(])(/src(?:/[^\s'\":,)]*)?)(?=$|[\s'\":,)])")

_EXITS = frozenset({"sys.exit", "os._exit", "builtins.exit", "builtins.quit"})

_BLOCKING = {
    "time.sleep": "await 'asyncio.sleep' instead",
    "urllib.request.urlopen": "await an asynchronous client such as 'httpx.AsyncClient' instead",
    "subprocess.run": "await 'asyncio.create_subprocess_exec' instead",
    "subprocess.call": "await 'asyncio.create_subprocess_exec' instead",
    "subprocess.check_call": "await 'asyncio.create_subprocess_exec' instead",
    "subprocess.check_output": "await 'asyncio.create_subprocess_exec' instead",
    "os.system": "await 'asyncio.create_subprocess_shell' instead",
    **{
        f"requests.{method}": "await an asynchronous client such as 'httpx.AsyncClient' instead"
        for method in ("get", "post", "put", "patch", "delete", "head", "request")
    },
}

_PYDANTIC_PARTS = frozenset(
    ("Field", "validator", "root_validator", "field_validator", "model_validator", "ConfigDict", "PrivateAttr")
)


def absolute_paths(case: Case) -> Iterator[Diagnosis]:
    """``/src``, which is the project in an image, and here is somewhere else or nowhere."""
    if case.host.has_root_at_src:
        return
    for source in case.sources:
        for text, line in _texts(source.tree):
            if match := _SRC.search(text):
                yield _in_src(match[1], source.name, line)
    for scalar in case.config.scalars("environment"):
        if match := _SRC.search(scalar.text):
            yield _in_src(match[1], case.config.shown_as, scalar.line)


def exits_at_import(case: Case) -> Iterator[Diagnosis]:
    """Code that ends the process when it is merely imported."""
    for source in case.sources:
        for call, is_conditional in _calls_at_import(source.tree.body):
            if source.scope.external_name(call.func) in _EXITS:
                yield Diagnosis(
                    severity=Severity.WARNING if is_conditional else Severity.ERROR,
                    problem=f"'{ast.unparse(call.func)}' ends the worker when the module is imported",
                    remedy="raise an exception that says what is missing, or move it below \"if __name__ == '__main__':\"",
                    file=source.name,
                    line=call.lineno,
                )


def blocking_calls(case: Case) -> Iterator[Diagnosis]:
    """Calls in coroutines that keep every other prediction waiting."""
    for source in case.sources:
        for function in ast.walk(source.tree):
            if not isinstance(function, ast.AsyncFunctionDef):
                continue
            for call in _calls_in(function.body):
                name = source.scope.external_name(call.func)
                if name in _BLOCKING:
                    yield Diagnosis(
                        severity=Severity.WARNING,
                        problem=f"'{name}' in the coroutine '{function.name}' keeps the worker's other predictions waiting",
                        remedy=f"{_BLOCKING[name]}, or wrap it in 'asyncio.to_thread'",
                        file=source.name,
                        line=call.lineno,
                    )


def pydantic_models(case: Case) -> Iterator[Diagnosis]:
    """``cog.BaseModel`` taken for pydantic's, which it was once."""
    for source in case.sources:
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.ClassDef) or "cog.BaseModel" not in map(source.scope.external_name, node.bases):
                continue
            if used := _pydantic_part(source, node):
                yield Diagnosis(
                    severity=Severity.WARNING,
                    problem=f"'{node.name}' uses '{used}' of pydantic; in Cog 0.17 and later, 'cog.BaseModel' is a dataclass",
                    remedy="derive from 'pydantic.BaseModel', and name pydantic in the requirements",
                    file=source.name,
                    line=node.lineno,
                )


def _in_src(path: str, file: str, line: int) -> Diagnosis:
    return Diagnosis(
        severity=Severity.WARNING,
        problem=f"'{shortened(path)}' is the project in an image only; here it is another place, or none",
        remedy="write the path relative to the project's directory, which is the working directory here and there",
        file=file,
        line=line,
    )


def _texts(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every text and its line, but for those that stand by themselves, as docstrings do."""
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.value, node.lineno


def _calls_at_import(body: list[ast.stmt], *, is_conditional: bool = False) -> Iterator[tuple[ast.Call, bool]]:
    """Calls made when a module is imported, and whether that depends on something."""
    for statement in body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                continue
            case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
                continue
            case ast.Expr(value=ast.Call() as call):
                yield call, is_conditional
            case _:
                for block in ("body", "orelse", "finalbody"):
                    yield from _calls_at_import(getattr(statement, block, []), is_conditional=True)
                for handler in getattr(statement, "handlers", ()):
                    yield from _calls_at_import(handler.body, is_conditional=True)


def _calls_in(body: list[ast.stmt]) -> Iterator[ast.Call]:
    """Calls that a function's own body makes, not those of functions inside it."""
    pending: list[ast.AST] = list(body)
    while pending:
        node = pending.pop(0)
        if isinstance(node, ast.Call):
            yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            pending.extend(ast.iter_child_nodes(node))


def _pydantic_part(source: PythonFile, model: ast.ClassDef) -> str | None:
    if any(isinstance(statement, ast.ClassDef) and statement.name == "Config" for statement in model.body):
        return "Config"
    for node in ast.walk(model):
        if isinstance(node, ast.Name | ast.Attribute):
            module, _, name = source.scope.external_name(node).rpartition(".")
            if module.partition(".")[0] == "pydantic" and name in _PYDANTIC_PARTS:
                return name
    return None
