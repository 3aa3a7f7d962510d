"""Find the interpreters of this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from drivetrain.settings import Settings

Version: TypeAlias = tuple[int, ...]

_DIRECTORY = re.compile(r"(?:cpython-)?(\d+\.\d+\.\d+)(?:-.*)?")
_NAME_ON_PATH = re.compile(r"python(?:3(?:\.\d+)?)?")

_QUESTION = "import platform; print(platform.python_implementation(), platform.python_version())"
_ANSWER = re.compile(r"CPython (\d+\.\d+\.\d+)")
_PATIENCE_SECONDS = 20


@dataclass(frozen=True, order=True)
class Interpreter:
    """An installed CPython."""

    version: Version
    path: Path

    def __str__(self) -> str:
        return ".".join(map(str, self.version))


def installed_interpreters(settings: Settings) -> Iterator[Interpreter]:
    """Every CPython of uv, of pyenv and on PATH, and the one that runs this. Only those on PATH are asked for their version."""
    yield from fetched_interpreters(settings)
    yield from _in_versioned_directories(settings.pyenv_root / "versions")
    yield from _on_path(settings.environ.get("PATH", ""))
    yield from _our_own()


def fetched_interpreters(settings: Settings) -> Iterator[Interpreter]:
    """Those that uv has fetched."""
    environ = settings.environ
    home = Path(environ.get("HOME") or Path.home())
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    yield from _in_versioned_directories(Path(environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python"))


def version_of(text: str) -> Version:
    """A version as numbers."""
    return tuple(map(int, text.split(".")))


def _in_versioned_directories(root: Path) -> Iterator[Interpreter]:
    if not root.is_dir():
        return
    for directory in sorted(root.iterdir()):
        path = directory / "bin" / "python3"
        if (match := _DIRECTORY.fullmatch(directory.name)) and os.access(path, os.X_OK):
            yield Interpreter(version_of(match[1]), path)


def _on_path(path: str) -> Iterator[Interpreter]:
    seen: set[Path] = set()
    for directory in map(Path, filter(None, path.split(os.pathsep))):
        # Shims (of pyenv, asdf and others) start what a file somewhere says. A virtual environment may be gone tomorrow.
        if directory.name == "shims" or (directory.parent / "pyvenv.cfg").is_file() or not directory.is_dir():
            continue
        for program in sorted(directory.absolute().iterdir()):
            if not _NAME_ON_PATH.fullmatch(program.name):
                continue
            real = program.resolve()
            if real not in seen and os.access(program, os.X_OK):
                seen.add(real)
                if version := _ask_version(program):
                    yield Interpreter(version, program)


def _our_own() -> Iterator[Interpreter]:
    """The interpreter beneath our own environment, which need not be on PATH: a service has a PATH of its own."""
    path = Path(getattr(sys, "_base_executable", None) or sys.executable)
    if sys.implementation.name == "cpython" and "t" not in sys.abiflags and os.access(path, os.X_OK):
        yield Interpreter(sys.version_info[:3], path)


def _ask_version(program: Path) -> Version | None:
    try:
        answer = subprocess.run(
            [program, "-I", "-c", _QUESTION],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    match = _ANSWER.match(answer.stdout)
    return version_of(match[1]) if match else None
