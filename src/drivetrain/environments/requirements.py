"""The requirement lines of a project as they are handed to uv."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

#: What came along with the ``cog`` package, and what projects therefore import without naming it.
IMPLICIT = ("attrs", "fastapi", "pydantic", "PyYAML", "requests", "structlog", "typing_extensions", "uvicorn")

#: Installed by drivetrain itself, in the form of its own ``cog`` module.
_OURS = frozenset({"cog", "coglet"})

_NAME = re.compile(r"^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[|[<>=!~;@( ]|$)")
_PATH = re.compile(r"^(?:-e\s+|--editable[ =])?(?P<path>[./][^;\[]*|[^\s;:\[@]+\.(?:whl|zip|tar\.gz|tgz|tar\.bz2|tar\.xz))")
_CONSTRAINT = re.compile(r"^(?:-c|--constraint)[ =]?\s*(?P<path>\S+)")


@dataclass(frozen=True, kw_only=True)
class Installation:
    """What to install, and how uv is to be asked.

    Attributes:
        lines: For a requirements file.
        flags: Options of pip that uv takes on its command line only.
    """

    lines: tuple[str, ...]
    flags: tuple[str, ...]


def installation(requirements: Sequence[str], *, implicit: Sequence[str]) -> Installation:
    """Turn a project's lines into what uv is asked to install.

    Args:
        requirements: Normalised requirement lines and pip options.
        implicit: Packages added unless the project names them itself.
    """
    lines = [line for line in requirements if canonical_name(line) not in _OURS]
    named = {name for line in lines if (name := canonical_name(line))}
    added = [package for package in implicit if _canonical(package) not in named]
    flags = [flag for line in lines for flag in _flags(line)]
    return Installation(lines=(*(line for line in lines if not any(_flags(line))), *added), flags=tuple(flags))


def canonical_name(line: str) -> str | None:
    """The normalised name of the package that a line asks for; ``None`` for options and bare paths."""
    match = _NAME.match(line)
    return _canonical(match[1]) if match else None


def local_files(requirements: Iterable[str], root: Path) -> Iterator[Path]:
    """Files and directories of this machine that the lines refer to, whose content therefore matters."""
    for line in requirements:
        match = _CONSTRAINT.match(line) or _PATH.match(line)
        if match and (path := root / match["path"].strip()).exists():
            yield path


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _flags(line: str) -> Iterator[str]:
    if line == "--pre":
        yield "--prerelease=allow"
    elif line.startswith("--trusted-host"):
        yield f"--allow-insecure-host={line.removeprefix('--trusted-host').strip(' =')}"
