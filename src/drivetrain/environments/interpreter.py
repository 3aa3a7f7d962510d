"""Choose the interpreter that an environment is made from: one that is installed, or one that uv can fetch."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from drivetrain.environments.environment import Progress
from drivetrain.environments.uv import run_uv
from drivetrain.model.errors import ProjectError
from drivetrain.settings import Settings

Version: TypeAlias = tuple[int, ...]

#: The worker runs on these and later.
OLDEST: Version = (3, 8)

#: When the project does not say: the version that most packages have wheels for comes first.
_PREFERRED = ((3, 12), (3, 11), (3, 13), (3, 10), (3, 14), (3, 9), (3, 8))

_VERSION = re.compile(r"\d+(\.\d+)*")
_DIRECTORY_VERSION = re.compile(r"(?:^|cpython-)(\d+\.\d+\.\d+)(?:-|$)")


@dataclass(frozen=True, order=True)
class Interpreter:
    """An installed CPython."""

    version: Version
    path: Path

    def __str__(self) -> str:
        return ".".join(map(str, self.version))


@dataclass(frozen=True)
class Choice:
    """An interpreter, and a sentence if it is not just what was asked for."""

    interpreter: Interpreter
    note: str | None = None


def choose(request: str | None, installed: Iterable[Interpreter]) -> Choice | None:
    """The best of those installed for a request; pure.

    Args:
        request: ``MAJOR.MINOR`` or ``MAJOR.MINOR.PATCH``; ``None`` for any that suits.
        installed: What there is; of equal versions the first counts.
    """
    usable = [interpreter for interpreter in installed if interpreter.version[:2] >= OLDEST]
    if request is None:
        for minor in _PREFERRED:
            if found := _latest(usable, minor):
                return Choice(found)
        return None
    wanted = tuple(map(int, request.split(".")))
    exact = next((interpreter for interpreter in usable if interpreter.version == wanted), None)
    if exact is not None:
        return Choice(exact)
    nearest = _latest(usable, wanted[:2])
    if nearest is None:
        return None
    return Choice(nearest, None if len(wanted) == 2 else f"Python {request} is not installed; {nearest} is used instead")


def _latest(interpreters: Sequence[Interpreter], minor: Version) -> Interpreter | None:
    return max(
        (interpreter for interpreter in interpreters if interpreter.version[:2] == minor),
        key=lambda interpreter: interpreter.version,
        default=None,
    )


def find_interpreter(request: str | None, settings: Settings, progress: Progress) -> Interpreter:
    """Find the interpreter for a request among those installed, or have uv fetch it.

    Args:
        request: ``MAJOR.MINOR`` or ``MAJOR.MINOR.PATCH``; ``None`` for any that suits.
        settings: Where to look.
        progress: Told what is done.

    Raises:
        ProjectError: There is none and none can be fetched; names those that are there.
    """
    if request is not None and tuple(map(int, request.split(".")))[:2] < OLDEST:
        raise ProjectError(
            f"Python {request} is too old: drivetrain runs models on Python 3.8 and later",
            hint="set build.python_version to a later one",
        )
    installed = list(installed_interpreters(settings))
    choice = choose(request, installed)
    if choice is None:
        fetched, reason = _fetch(request or "3.12", settings, progress)
        if fetched is None:
            raise _not_found(request, installed, reason)
        choice = Choice(fetched)
    if choice.note:
        progress.step(choice.note)
    return choice.interpreter


def installed_interpreters(settings: Settings) -> Iterator[Interpreter]:
    """Every CPython of this machine that can be found without running pyenv's shims: uv's, pyenv's, those on PATH."""
    for root in (_uv_directory(settings), settings.pyenv_root / "versions"):
        yield from _in_versioned_directories(root)
    yield from _on_path(settings.environ.get("PATH", ""), settings.pyenv_root)


def _uv_directory(settings: Settings) -> Path:
    environ = settings.environ
    if directory := environ.get("UV_PYTHON_INSTALL_DIR"):
        return Path(directory)
    home = Path(environ.get("HOME") or Path.home())
    return Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "uv" / "python"


def _in_versioned_directories(root: Path) -> Iterator[Interpreter]:
    if not root.is_dir():
        return
    for directory in sorted(root.iterdir()):
        match = _DIRECTORY_VERSION.search(directory.name)
        path = directory / "bin" / "python3"
        if match and os.access(path, os.X_OK):
            yield Interpreter(_parse(match[1]), path)


def _on_path(path: str, pyenv_root: Path) -> Iterator[Interpreter]:
    names = ["python3", "python", *(f"python3.{minor}" for minor in range(OLDEST[1], 20))]
    seen: set[Path] = set()
    for directory in map(Path, filter(None, path.split(os.pathsep))):
        if directory == pyenv_root / "shims":  # they run what a file somewhere says, which is not what was asked for
            continue
        for name in names:
            program = directory / name
            if not os.access(program, os.X_OK) or (real := program.resolve()) in seen:
                continue
            seen.add(real)
            if _is_virtual(program) or real == Path(sys.executable).resolve() != program.resolve():
                continue
            if version := _ask_version(program):
                yield Interpreter(version, program)


def _is_virtual(program: Path) -> bool:
    """Whether it is the interpreter of somebody's virtual environment, which may be gone tomorrow."""
    return (program.parent.parent / "pyvenv.cfg").is_file()


def _ask_version(program: Path) -> Version | None:
    question = "import platform; print(platform.python_implementation(), platform.python_version())"
    try:
        answer = subprocess.run([program, "-I", "-c", question], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    implementation, _, version = answer.stdout.strip().partition(" ")
    match = _VERSION.match(version)
    return _parse(match[0]) if implementation == "CPython" and match else None


def _parse(text: str) -> Version:
    return tuple(map(int, text.split(".")))


def _fetch(request: str, settings: Settings, progress: Progress) -> tuple[Interpreter | None, str]:
    progress.step(f"Fetching Python {request}")
    failure = run_uv(["python", "install", request], settings, progress, variables={"UV_HTTP_RETRIES": "1"})
    if failure is not None:
        return None, "the network cannot be reached" if failure.is_network else failure.output.splitlines()[0]
    choice = choose(request, _in_versioned_directories(_uv_directory(settings)))
    return (choice.interpreter if choice else None), "it was not where uv puts interpreters"


def _not_found(request: str | None, installed: Sequence[Interpreter], reason: str) -> ProjectError:
    usable = sorted({str(interpreter) for interpreter in installed if interpreter.version[:2] >= OLDEST}, key=_parse)
    there = f"this machine ({platform.machine()}) has {', '.join(usable)}" if usable else "this machine has none that can be used"
    return ProjectError(
        f"Python {request or '3.8 or later'} is not installed and could not be fetched ({reason}); {there}",
        hint="install it (with uv, pyenv or the system's packages), set build.python_version to one that is there, "
        "or use --env host for the Python on PATH",
    )
