"""Show where the code has grown: largest files, longest functions, readers of the environment, mocks. Judges nothing."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SHOWN = 8

_PATCH = re.compile(r"\b(?:monkeypatch\.\w+|mock\.patch|patch\(|MagicMock|Mock\()")
_TEST = re.compile(r"^\s*(?:async )?def test_", re.MULTILINE)


def main() -> int:
    """Print the lists."""
    sources = _files("src")
    tests = _files("tests")
    _show("Largest files (lines)", _largest((len(text.splitlines()), name) for name, text in {**sources, **tests}.items()))
    _show("Longest functions (lines)", _largest(function for name, text in sources.items() for function in _functions(name, text)))
    readers = [(text.count("os.environ"), name) for name, text in sources.items() if _reads_environment(text)]
    _show("Files that read the environment (places)", _largest(readers))
    count = sum(len(_TEST.findall(text)) for text in tests.values())
    patches = [(len(_PATCH.findall(text)), name) for name, text in tests.items()]
    print(f"\nPatches per test: {sum(number for number, _ in patches) / max(count, 1):.2f} in {count} tests")
    _show("Most patches", _largest(patch for patch in patches if patch[0]))
    return 0


def _files(room: str) -> dict[str, str]:
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted((ROOT / room).rglob("*.py"))}


def _functions(name: str, text: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            yield node.end_lineno - node.lineno + 1, f"{name}:{node.lineno} {node.name}"


def _reads_environment(text: str) -> bool:
    tree = ast.parse(text)
    return any(
        isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv") and _is_os(node.value) for node in ast.walk(tree)
    )


def _is_os(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "os"


def _largest(found: Iterator[tuple[int, str]] | list[tuple[int, str]]) -> list[tuple[int, str]]:
    return sorted(found, reverse=True)[:SHOWN]


def _show(title: str, rows: list[tuple[int, str]]) -> None:
    if rows:
        print(f"\n{title}")
    for number, name in rows:
        print(f"{number:6}  {name}")


if __name__ == "__main__":
    sys.exit(main())
