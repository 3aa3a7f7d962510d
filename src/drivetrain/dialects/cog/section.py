"""One mapping of cog.yaml, read key by key; whatever has the wrong form is noted together with the right one."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping

import msgspec

from drivetrain.dialects.cog.findings import Findings
from drivetrain.dialects.cog.yaml_nodes import Entry, Node, Scalar, Sequence
from drivetrain.dialects.cog.yaml_nodes import Mapping as MappingNode

_TRUE = re.compile(r"true|yes|on|y", re.IGNORECASE)
_FALSE = re.compile(r"false|no|off|n", re.IGNORECASE)
_INTEGER = re.compile(r"[+-]?[0-9]+")

LONGEST_SHOWN = 80


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """Text of the file with the line it stands in."""

    text: str
    line: int


class Section:
    """Reads a mapping's keys; what is absent or null reads as nothing.

    Args:
        mapping: The mapping; ``None`` is an empty one.
        findings: Where problems are noted.
        path: Dotted path of the mapping within the file; empty for the top level.
    """

    def __init__(self, mapping: MappingNode | None, findings: Findings, path: str = "") -> None:
        self._entries = mapping.entries if mapping is not None else {}
        self._findings = findings
        self._path = path
        self.line = mapping.line if mapping is not None else None

    def text(self, key: str) -> Text | None:
        """The source text of a single value; empty text counts as absent."""
        entry = self._present(key)
        if entry is None:
            return None
        if not isinstance(entry.value, Scalar):
            self._wrong_form(entry, "a single value", _single_form(key, entry.value))
            return None
        text = entry.value.text.strip()
        return Text(text=text, line=entry.value.line) if text else None

    def flag(self, key: str) -> bool:
        """A truth value; absent is false."""
        entry = self._present(key)
        if entry is None:
            return False
        value = entry.value
        plain = value.text if isinstance(value, Scalar) and value.plain else ""
        if _TRUE.fullmatch(plain):
            return True
        if not _FALSE.fullmatch(plain):
            self._wrong_form(entry, "true or false", f"write '{key}: {_likely_flag(value)}'")
        return False

    def count(self, key: str) -> int | None:
        """A whole number of at least 1."""
        entry = self._present(key)
        if entry is None:
            return None
        value = entry.value
        if isinstance(value, Scalar) and value.plain and _INTEGER.fullmatch(value.text) and len(value.text) < 10:
            number = int(value.text)
            if number >= 1:
                return number
        self._wrong_form(entry, "a whole number of at least 1", f"write '{key}: {_likely_count(value)}'")
        return None

    def texts(self, key: str, *, glue: str = ": ") -> tuple[Text, ...]:
        """The items of a list of single values; empty items are left out with a warning.

        Args:
            key: The list's key.
            glue: What stands between the two parts of an item that was meant, where one finds ``a: b``.
        """
        return tuple(Text(text=item.text.strip(), line=item.line) for item in self._scalars(key, glue))

    def items(self, key: str, right_form: str) -> Iterator[Node]:
        """The items of a list, whatever they are."""
        entry = self._present(key)
        if entry is None:
            return
        if not isinstance(entry.value, Sequence):
            self._wrong_form(entry, "a list", right_form)
            return
        yield from entry.value.items

    def section(self, key: str, right_form: str) -> Section:
        """A mapping within this one; an empty section if there is none."""
        entry = self._present(key)
        mapping = None
        if entry is not None and isinstance(entry.value, MappingNode):
            mapping = entry.value
        elif entry is not None:
            self._wrong_form(entry, "a mapping", right_form)
        return Section(mapping, self._findings, self.path_of(key))

    def line_of(self, key: str) -> int | None:
        """Where a key stands, if it does and has a value."""
        entry = self._present(key)
        return entry.line if entry is not None else None

    def value_of(self, key: str) -> Node | None:
        """A key's value as it is, if it has one."""
        entry = self._present(key)
        return entry.value if entry is not None else None

    def path_of(self, key: str) -> str:
        """A key's dotted path within the file."""
        return f"{self._path}.{key}" if self._path else key

    def warn_of_unknown_keys(
        self, known: Collection[str], *, gone: Mapping[str, str], elsewhere: Mapping[str, Collection[str]]
    ) -> None:
        """Warn of keys that have no effect here.

        Args:
            known: Keys that have one.
            gone: Keys that Cog had once, with a sentence on what to do about each.
            elsewhere: Keys known in other sections, by the path of the section.
        """
        for key, entry in self._entries.items():
            if key in known:
                continue
            if key in gone:
                self._findings.warn("gone-key", f"'{self.path_of(key)}' has no effect any more", gone[key], entry.line)
                continue
            remedy = _advice(key, known, elsewhere)
            self._findings.warn("unknown-key", f"'{self.path_of(shortened(key))}' is not a key of cog.yaml", remedy, entry.line)

    def _present(self, key: str) -> Entry | None:
        entry = self._entries.get(key)
        if entry is None or (isinstance(entry.value, Scalar) and entry.value.is_null):
            return None
        return entry

    def _scalars(self, key: str, glue: str) -> Iterator[Scalar]:
        entry = self._present(key)
        for item in self.items(key, _list_form(key, entry.value, glue) if entry is not None else ""):
            if not isinstance(item, Scalar):
                self.note_wrong_item(key, item, glue=glue)
            elif item.is_null or not item.text.strip():
                self._findings.warn("empty-item", f"'{self.path_of(key)}' has an empty item", "remove it", item.line)
            else:
                yield item

    def note_wrong_item(self, key: str, item: Node, *, glue: str = ": ") -> None:
        """Note that a list's item is not the single value it should be."""
        pair = _first_pair(item)
        if pair is None:
            remedy = f"write every item of '{key}' as one line of text"
        else:
            remedy = f"the colon made two parts of it: write - {_quoted(glue.join(pair))}"
        self._findings.error(
            "wrong-form", f"an item of '{self.path_of(key)}' is {_kind(item)} where text is wanted", remedy, item.line
        )

    def _wrong_form(self, entry: Entry, wanted: str, remedy: str) -> None:
        self._findings.error(
            "wrong-form",
            f"'{self.path_of(entry.key)}' is {_kind(entry.value)} where {wanted} is wanted",
            remedy,
            entry.line,
        )


def _kind(node: Node) -> str:
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, MappingNode):
        return "a mapping"
    return f"'{shortened(node.text)}'" if node.plain else f"the text {_quoted(node.text)}"


def _single_form(key: str, node: Node) -> str:
    inner = node.items[0] if isinstance(node, Sequence) and len(node.items) == 1 else None
    value = _quoted(inner.text) if isinstance(inner, Scalar) else "..."
    return f"write '{key}: {value}'"


def _list_form(key: str, node: Node, glue: str) -> str:
    pair = _first_pair(node)
    text = glue.join(pair) if pair is not None else node.text.strip() if isinstance(node, Scalar) else "..."
    return f"write '{key}: [{_quoted(text)}]'"


def _likely_flag(node: Node) -> str:
    return "true" if isinstance(node, Scalar) and (_TRUE.fullmatch(node.text.strip()) or node.text == "1") else "false"


def _likely_count(node: Node) -> int:
    digits = node.text.strip() if isinstance(node, Scalar) else ""
    return max(1, int(digits)) if _INTEGER.fullmatch(digits) and len(digits) < 10 else 1


def _first_pair(node: Node) -> tuple[str, str] | None:
    if not isinstance(node, MappingNode) or not node.entries:
        return None
    entry = next(iter(node.entries.values()))
    return (entry.key, entry.value.text) if isinstance(entry.value, Scalar) else None


def _quoted(text: str) -> str:
    return json.dumps(shortened(text), ensure_ascii=False)


def shortened(text: str) -> str:
    """Text of the file, cut so that a sentence around it stays readable."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _advice(key: str, known: Collection[str], elsewhere: Mapping[str, Collection[str]]) -> str:
    for path, keys in elsewhere.items():
        if key in keys:
            return f"move it under '{path}:'" if path else "move it to the top level, without indentation"
    from difflib import get_close_matches  # 4 ms, for files with a mistake only

    lower = key[:LONGEST_SHOWN].lower().replace("-", "_")
    nearest = get_close_matches(lower, known, n=1, cutoff=0.5)
    if nearest:
        return f"did you mean '{nearest[0]}'?"
    for path, keys in elsewhere.items():
        if nearest := get_close_matches(lower, keys, n=1, cutoff=0.7):
            return f"did you mean '{nearest[0]}' under '{path}:'?" if path else f"did you mean '{nearest[0]}' at the top level?"
    return f"remove it, or use one of: {', '.join(sorted(known))}"
