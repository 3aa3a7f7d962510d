"""The requirement lines of a project as uv takes them, and the files of this machine that they refer to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

_SOURCES = ("--index-url", "--extra-index-url", "--find-links", "--no-index", "--trusted-host")

#: Options of pip that uv takes on its command line only. It has no ``--prefer-binary``; wheels are tried first anyway.
_FLAGS = {"--pre": "--prerelease=allow", "--trusted-host": "--allow-insecure-host={}", "--prefer-binary": None}

_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_NAME_BEFORE_PATH = re.compile(r"^[\w.-]+\s*(?:\[[^\]]*\]\s*)?@\s*(?=[./]|file:)")
_AFTER_PATH = re.compile(r"(?:\[[^\]]*\])?\s*(?:;.*|\s--hash=.*)?$")
_ARCHIVES = (".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

#: A file up to this size counts by its content, so that copies of a project share; reading a larger one would take too long.
_READ_BYTES = 1024 * 1024

#: What a package is built from. Other files of its directory may change with every run of a model.
_BUILT_FROM = (
    ".py",
    ".pyi",
    ".pyx",
    ".pxd",
    ".c",
    ".cc",
    ".cpp",
    ".cxx",
    ".h",
    ".hpp",
    ".cu",
    ".cuh",
    ".rs",
    ".toml",
    ".cfg",
    ".in",
)
_NOT_BUILT_FROM = ("__pycache__", "build", "dist", "node_modules")


def lines_for_uv(requirements: Iterable[str]) -> tuple[str, ...]:
    """The lines that uv reads as pip does."""
    return tuple(line for line in requirements if line.partition(" ")[0] not in _FLAGS)


def split_paths(lines: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Lines without those that name a package of this machine, and these, which uv is to be given on its command line.

    A directory that stands in a file is built anew only when its ``pyproject.toml`` has changed, whatever else has.
    """
    paths = tuple(line for line in lines if not line.startswith("-") and " --" not in line and _path_of(line) is not None)
    return tuple(line for line in lines if line not in paths), paths


def flags_for_uv(requirements: Iterable[str]) -> tuple[str, ...]:
    """What the other lines are on uv's command line."""
    options = (line.partition(" ")[::2] for line in requirements)
    return tuple(flag.format(value) for name, value in options if (flag := _FLAGS.get(name)))


def sources(requirements: Iterable[str]) -> tuple[str, ...]:
    """The lines that say where packages come from."""
    return tuple(line for line in requirements if line.partition(" ")[0] in _SOURCES)


def unset_variables(requirements: Iterable[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the variables in the addresses of the lines, written ``${NAME}``, that have no value."""
    names = {name for line in requirements if "://" in line for name in _VARIABLE.findall(line)}
    return tuple(sorted(names - environ.keys()))


def local_content(requirements: Sequence[str], root: Path) -> Iterator[bytes]:
    """Bytes that change when a file or directory of this machine changes that the lines refer to.

    Args:
        requirements: Normalised requirement lines.
        root: Directory that relative paths start from.
    """
    for line in requirements:
        reference = _path_of(line)
        path = root / reference if reference else None
        if path is None or not path.exists():
            continue
        if not path.is_dir():
            yield from _content_of_file(path)
        elif line.startswith("--find-links"):
            yield from _content_of_collection(path)
        else:
            yield from _content_of_package(path)


def _path_of(line: str) -> str | None:
    option, _, value = line.partition(" ")
    is_named = option in ("-c", "-e", "--find-links")
    path = _AFTER_PATH.sub("", value if is_named else _NAME_BEFORE_PATH.sub("", line)).removeprefix("file://").removeprefix("file:")
    is_path = is_named or path.startswith((".", "/")) or path.lower().endswith(_ARCHIVES)
    return path if is_path and "://" not in path else None


def _content_of_file(path: Path) -> Iterator[bytes]:
    yield path.read_bytes() if path.stat().st_size <= _READ_BYTES else _stamp(path)


def _content_of_collection(path: Path) -> Iterator[bytes]:
    for archive in sorted(path.iterdir()):
        if archive.name.endswith(_ARCHIVES):
            yield os.fsencode(archive.name) + _stamp(archive)


def _content_of_package(path: Path) -> Iterator[bytes]:
    yield os.fsencode(path)  # an editable package stays where it is
    for directory, subdirectories, names in os.walk(path):
        subdirectories[:] = sorted(name for name in subdirectories if _is_source_directory(name))
        for name in sorted(names):
            if name.endswith(_BUILT_FROM):
                source = Path(directory, name)
                yield os.fsencode(source) + _stamp(source)


def _stamp(path: Path) -> bytes:
    status = path.lstat()
    return f" {status.st_size} {status.st_mtime_ns}\n".encode()


def _is_source_directory(name: str) -> bool:
    return not (name.startswith(".") or name.endswith(".egg-info") or name in _NOT_BUILT_FROM)
