"""Requirement lines, from a file or from cog.yaml itself, brought to one normal form that uv understands.

The rules are pip's: comments, blank lines, continuations, options, nested files. Cog adds that its own package is installed
apart, and that a requirement may carry index options in the same line. Nested ``-r`` files are put in where they stand, so
that the lines say all that will be installed; local paths start from the project's root, as for a pip that is run there.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from os.path import relpath
from pathlib import Path

from drivetrain.dialects.cog.findings import Findings
from drivetrain.dialects.cog.section import Text, shortened
from drivetrain.dialects.cog.text_file import exists, read_text

#: A requirements file larger than this is none.
LARGEST_FILE = 2 * 1024 * 1024

_COMMENT = re.compile(r"(^|\s)#.*$")
_OPTIONS_BEGIN = re.compile(r"(?:^|\s)(?=-)")
_NAMED = re.compile(r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\]\s*)?(?P<rest>.*)")
_REST = re.compile(r"$|[@;(<>]|!=|~=|==")
_URL = re.compile(r"(?:[a-z]+\+)?[a-z]+://|file:", re.IGNORECASE)
_VERSION_CONTROL = re.compile(r"(?:git|hg|svn|bzr)\+", re.IGNORECASE)
_ARCHIVES = (".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

_OWN_PACKAGES = frozenset({"cog", "coglet"})
_OWN_SOURCE = re.compile(r"[/:]replicate/cog(?:\.git)?(?=[@#/]|$)|[#&]egg=cog(?:let)?\b", re.IGNORECASE)

_LONG_NAMES = {
    "-r": "--requirement",
    "-c": "--constraint",
    "-e": "--editable",
    "-i": "--index-url",
    "-f": "--find-links",
}
_SWITCHES = frozenset({"--no-index", "--pre", "--prefer-binary", "--require-hashes"})
_INDEX_OPTIONS = frozenset({"--index-url", "--extra-index-url", "--find-links"})
_KEPT_OPTIONS = _SWITCHES | _INDEX_OPTIONS | {"--no-binary", "--only-binary", "--trusted-host"}
_NEED_A_VALUE = (_KEPT_OPTIONS - _SWITCHES) | {"--requirement", "--constraint", "--editable"}
#: Options that pip takes and that change nothing about what uv would install.
_DROPPED_OPTIONS = frozenset({"--use-feature", "--global-option", "--install-option", "--config-settings", "--build-option"})


def requirements_of_file(path: Path, *, root: Path, findings: Findings, including: tuple[Path, ...] = ()) -> tuple[str, ...]:
    """Normal lines of a requirements file and of those it includes.

    Args:
        path: The file.
        root: Directory that local paths in the lines start from.
        findings: Those about ``path``; what is wrong in nested files is included.
        including: The files that this one is being included by, outermost first.
    """
    text = read_text(path, findings, largest=LARGEST_FILE)
    if text is None:
        return ()
    reader = _Reader(file=path, root=root, findings=findings, open_files=(*including, path.resolve()))
    return reader.normal_lines(_logical_lines(text))


def requirements_of_items(items: Iterable[Text], *, file: Path, root: Path, findings: Findings) -> tuple[str, ...]:
    """Normal lines of the items of ``build.python_packages`` in the config ``file``."""
    lines = (Text(text=_COMMENT.sub("", item.text).strip(), line=item.line) for item in items)
    return _Reader(file=file, root=root, findings=findings, open_files=()).normal_lines(lines)


def _logical_lines(text: str) -> Iterator[Text]:
    """Lines without comments, continuations joined; each with the number of its first line."""
    parts: list[str] = []
    first = 1
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        first = first if parts else number
        is_continued = line.endswith("\\") and not line.lstrip().startswith("#")
        parts.append(line[:-1] if is_continued else line)
        if not is_continued:
            yield Text(text=_COMMENT.sub("", "".join(parts)).strip(), line=first)
            parts.clear()


class _Reader:
    """Brings the logical lines of one file to their normal form."""

    def __init__(self, *, file: Path, root: Path, findings: Findings, open_files: tuple[Path, ...]) -> None:
        self._file = file
        self._root = root
        self._findings = findings
        self._open_files = open_files

    def normal_lines(self, lines: Iterable[Text]) -> tuple[str, ...]:
        return tuple(normal for line in lines for normal in self._normal(line))

    def _normal(self, line: Text) -> Iterator[str]:
        requirement, options = _split_options(line.text)
        hashes = [f"--hash={value}" for name, value in options if name == "--hash"]
        for name, value in options:
            if name != "--hash":
                yield from self._option(name, value, line, alone=not requirement)
        if requirement:
            yield from (" ".join([kept, *hashes]) for kept in self._requirement(requirement, line))

    def _option(self, name: str, value: str, line: Text, *, alone: bool) -> Iterator[str]:
        if name in _NEED_A_VALUE and not value.strip():
            self._error(line, "requirement", f"'{name}' needs a value", "write it behind the option, or remove the line")
        elif name == "--requirement" and alone:
            yield from self._included(value, line)
        elif name == "--constraint" and alone:
            yield from self._constraint(value, line)
        elif name == "--editable" and alone:
            yield from self._editable(value, line)
        elif name == "--find-links":
            yield f"--find-links {self._find_links(value.strip())}"
        elif name in _INDEX_OPTIONS or (name in _KEPT_OPTIONS and alone):
            yield f"{name} {value.strip()}".rstrip()
        elif name in _KEPT_OPTIONS or name in _DROPPED_OPTIONS:
            self._warn(line, "ignored-option", f"'{name}' has no effect here", "remove it")
        else:
            self._error(line, "requirement", f"'{name}' cannot stand in a requirements file", "remove it")

    def _included(self, value: str, line: Text) -> tuple[str, ...]:
        if _URL.match(value):
            return (f"-r {value}",)
        path = self._beside(value, line)
        if path is None:
            return ()
        if path.resolve() in self._open_files:
            self._error(line, "requirements-loop", f"'{value}' includes itself", "remove this line")
            return ()
        nested = Findings(str(Path(self._findings.file).parent / value))
        lines = requirements_of_file(path, root=self._root, findings=nested, including=self._open_files)
        self._findings.include(nested)
        return lines

    def _constraint(self, value: str, line: Text) -> Iterator[str]:
        if _URL.match(value):
            yield f"-c {value}"
        elif (path := self._beside(value, line)) is not None:
            yield f"-c {relpath(path, self._root)}"

    def _editable(self, value: str, line: Text) -> Iterator[str]:
        if value.rstrip("/") in (".", ""):
            self._warn(
                line,
                "own-project",
                f"'{line.text}' is left out: the project's directory can be imported from without it",
                "remove the line",
            )
        elif _VERSION_CONTROL.match(value):
            yield from self._requirement(value, line)  # uv refuses editable ones, and nobody edits a fresh clone
        elif _URL.match(value) or self._path_stands(value, line):
            yield f"-e {value}"

    def _find_links(self, value: str) -> str:
        beside = self._file.parent / value
        return value if _URL.match(value) or not exists(beside) else relpath(beside, self._root)

    def _requirement(self, text: str, line: Text) -> Iterator[str]:
        if _is_own_package(text):
            self._warn(line, "own-package", f"'{shortened(text)}' is left out: drivetrain brings 'cog'", "remove the line")
        elif _is_path(text):
            if self._path_stands(text, line):
                yield text
        elif _URL.match(text) or self._is_well_formed(text, line):
            yield text

    def _is_well_formed(self, text: str, line: Text) -> bool:
        match = _NAMED.fullmatch(text)
        if match is not None and _REST.match(match["rest"]):
            target = match["rest"].removeprefix("@").strip() if match["rest"].startswith("@") else ""
            return not _is_path(target) or self._path_stands(target, line)
        self._error(line, "requirement", f"'{shortened(text)}' is not a requirement", _correction(match))
        return False

    def _path_stands(self, text: str, line: Text) -> bool:
        path = _path_part(text)
        if "$" in path or exists(self._root / path):
            return True
        self._error(
            line, "missing-path", f"'{shortened(path)}' does not exist in the project's directory", "correct or remove the line"
        )
        return False

    def _beside(self, value: str, line: Text) -> Path | None:
        path = self._file.parent / value
        if value and exists(path):
            return path
        self._error(line, "missing-file", f"'{shortened(value)}' does not exist beside '{self._findings.file}'", "correct the path")
        return None

    def _error(self, line: Text, code: str, problem: str, remedy: str) -> None:
        self._findings.error(code, problem, remedy, line.line)

    def _warn(self, line: Text, code: str, problem: str, remedy: str) -> None:
        self._findings.warn(code, problem, remedy, line.line)


def _split_options(text: str) -> tuple[str, list[tuple[str, str]]]:
    """A line's requirement, and its options by their long names."""
    requirement, *rest = _OPTIONS_BEGIN.split(text, maxsplit=1)
    return requirement.strip(), list(_options(_words(rest[0]))) if rest else []


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an unclosed quote
        return text.split()


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    remaining = iter(words)
    for word in remaining:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
        else:
            name, value = word[:2], word[2:].lstrip("=")
            equals = value
        name = _LONG_NAMES.get(name, name)
        if not equals and name not in _SWITCHES:
            value = next(remaining, "")
        yield name, value


def _is_own_package(text: str) -> bool:
    if _URL.match(text):
        return _OWN_SOURCE.search(text) is not None
    match = _NAMED.fullmatch(text)
    return match is not None and match["name"].lower() in _OWN_PACKAGES and _REST.match(match["rest"]) is not None


def _is_path(text: str) -> bool:
    path = _path_part(text)
    return not _URL.match(path) and (path.startswith((".", "/")) or ("@" not in path and path.lower().endswith(_ARCHIVES)))


def _path_part(text: str) -> str:
    """A requirement's path, without environment marker and extras."""
    path = text.partition(";")[0].strip()
    return path[: path.rfind("[")] if path.endswith("]") else path


def _correction(match: re.Match[str] | None) -> str:
    name, rest = (match["name"], match["rest"]) if match is not None else ("", "")
    if name in ("pip", "pip3") and rest.startswith("install "):
        return f"write '{rest.removeprefix('install ').strip()}'"
    if version := re.fullmatch(r"=?\s*([0-9][0-9A-Za-z.+]*)", rest):
        return f"write '{name}=={version[1]}'"
    return "write one 'name==version' in each line"
