"""YAML text as a tree of nodes that remember their lines and their source text.

Loading YAML into Python values would turn an unquoted ``3.10`` into the float 3.1 and forget where things stood. So the tree
is built here from the parser's events. That also bounds what a file can cost: its nesting, and the size that its aliases
unfold to, are limited while it is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec
import yaml

from drivetrain.dialects.cog.findings import Findings

#: A cog.yaml nests five levels deep at most; the rest is for keys that we do not know.
DEEPEST = 40
#: Nodes a file may unfold to through its aliases. The largest files seen in the wild have some hundred.
MOST_NODES = 20_000

_NULL = re.compile(r"~|null|Null|NULL|")


class Scalar(msgspec.Struct, frozen=True, kw_only=True):
    """A single value, as it is written in the file. ``plain`` means that it stands there without quotes."""

    text: str
    line: int
    plain: bool
    size: int = 1

    @property
    def is_null(self) -> bool:
        """Whether YAML reads it as nothing."""
        return self.plain and _NULL.fullmatch(self.text) is not None


class Sequence(msgspec.Struct, kw_only=True):
    """A list."""

    line: int
    items: list[Node] = []
    size: int = 1


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One key of a mapping with its value."""

    key: str
    line: int
    value: Node


class Mapping(msgspec.Struct, kw_only=True):
    """Keys and values, merge keys resolved."""

    line: int
    entries: dict[str, Entry] = {}
    size: int = 1


Node: TypeAlias = Scalar | Sequence | Mapping


def parse_yaml(text: str, findings: Findings) -> Node | None:
    """Build the tree of the only document in ``text``.

    Returns:
        The root; ``None`` if the text holds nothing, or if it cannot be read, which is then an error in ``findings``.
    """
    try:
        return _Composer(yaml.parse(text, Loader=_loader()), findings).compose()
    except _Refused as refused:
        findings.error(refused.code, refused.problem, refused.remedy, refused.line)
    except yaml.MarkedYAMLError as error:
        _note_syntax_error(error, text, findings)
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        _note_unreadable(error, text, findings)
    return None


def _loader() -> Any:
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Refused(Exception):  # noqa: N818 (control flow within this module)
    def __init__(self, code: str, problem: str, remedy: str, line: int) -> None:
        self.code, self.problem, self.remedy, self.line = code, problem, remedy, line


class _Composer:
    """Turns one document's events into nodes."""

    def __init__(self, events: Iterator[Any], findings: Findings) -> None:
        self._events = events
        self._findings = findings
        self._anchors: dict[str, Node | None] = {}
        self._depth = 0

    def compose(self) -> Node | None:
        root: Node | None = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _Refused("yaml-several-documents", "a second document begins here", "remove the line '---'", _line(event))
                root = self._node(next(self._events))
        return root

    def _node(self, event: Any) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._aliased(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        node = self._fresh(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _aliased(self, event: Any) -> Node:
        node = self._anchors.get(event.anchor)
        if node is not None:
            return node
        problem = "stands inside itself" if event.anchor in self._anchors else "is not defined above this line"
        raise _Refused(
            "yaml-alias", f"alias '*{event.anchor}' {problem}", f"define '&{event.anchor}' first, or write it out", _line(event)
        )

    def _fresh(self, event: Any) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(text=event.value, line=_line(event), plain=event.implicit[0])
        self._depth += 1
        if self._depth > DEEPEST:
            raise _Refused("yaml-too-deep", f"this is nested more than {DEEPEST} levels deep", "write it flatter", _line(event))
        node = self._sequence(event) if isinstance(event, yaml.SequenceStartEvent) else self._mapping(event)
        self._depth -= 1
        return node

    def _sequence(self, start: Any) -> Sequence:
        sequence = Sequence(line=_line(start))
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            item = self._node(event)
            sequence.items.append(item)
            self._grow(sequence, item)
        return sequence

    def _mapping(self, start: Any) -> Mapping:
        mapping = Mapping(line=_line(start))
        merged: dict[str, Entry] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            line = _line(event)
            key = self._node(event)
            value = self._node(next(self._events))
            self._grow(mapping, value)
            if not isinstance(key, Scalar):
                raise _Refused("yaml-key", "a list or mapping stands where a key is wanted", "write a word as key", line)
            if key.plain and key.text == "<<":
                self._merge(merged, value, line)
            else:
                self._enter(mapping, Entry(key=key.text, line=line, value=value))
        mapping.entries = {**merged, **mapping.entries}
        return mapping

    def _enter(self, mapping: Mapping, entry: Entry) -> None:
        first = mapping.entries.get(entry.key)
        if first is None:
            mapping.entries[entry.key] = entry
            return
        self._findings.error(
            "yaml-duplicate-key",
            f"'{entry.key}' stands here a second time (first in line {first.line})",
            "keep one of the two",
            entry.line,
        )

    def _merge(self, merged: dict[str, Entry], value: Node, line: int) -> None:
        sources = value.items if isinstance(value, Sequence) else [value]
        for source in sources:
            if not isinstance(source, Mapping):
                raise _Refused("yaml-merge", "'<<' can only merge mappings", "write '<<: *name' with the name of one", line)
            for key, entry in source.entries.items():
                merged.setdefault(key, entry)

    def _grow(self, parent: Sequence | Mapping, child: Node) -> None:
        parent.size += child.size
        if parent.size > MOST_NODES:
            raise _Refused("yaml-too-large", f"the file unfolds to more than {MOST_NODES} values", "use fewer aliases", child.line)


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _note_syntax_error(error: yaml.MarkedYAMLError, text: str, findings: Findings) -> None:
    if "end of stream" in (error.problem or "") and "quoted" in (error.context or ""):
        line = error.context_mark.line + 1 if error.context_mark is not None else None
        findings.error("yaml-syntax", "the quote that opens in this line is never closed", "close it", line)
        return
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark is not None else None
    lines = text.splitlines()
    source = lines[line - 1] if line is not None and line <= len(lines) else ""
    problem, remedy = _explanation(error.problem or error.context or "", source)
    findings.error("yaml-syntax", problem, remedy, line)


def _explanation(problem: str, source: str) -> tuple[str, str]:
    """What the parser means, for people who do not know its terms."""
    if "\t" in source[: len(source) - len(source.lstrip())]:
        return "this line is indented with a tab, which YAML does not allow", "indent with spaces"
    if "mapping values are not allowed" in problem:
        return (
            "a colon stands where YAML expects none",
            "put a value that holds ': ' in quotes, and indent keys of one level alike",
        )
    if "cannot start any token" in problem:
        return f"this is not valid YAML: {problem}", "put the value in quotes"
    if "did not find expected" in problem or "could not find expected" in problem:
        return (
            f"this is not valid YAML: {problem}",
            "check the indentation, quotes and brackets of this line and the one before it",
        )
    return f"this is not valid YAML: {problem or 'the parser gave no reason'}", "check this line and the one before it"


def _note_unreadable(error: Exception, text: str, findings: Findings) -> None:
    forbidden = re.search(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text)
    if forbidden is None:
        findings.error("yaml-syntax", f"this is not valid YAML: {error}", "save the file as plain UTF-8 text")
        return
    findings.error(
        "yaml-character",
        f"the character U+{ord(forbidden.group()):04X} may not stand in a YAML file",
        "remove it",
        text.count("\n", 0, forbidden.start()) + 1,
    )
