"""Precise edits of a config file: found by the parser's marks, made in the bytes, so that comments stay.

An edit is only given if the project that the config describes is the same after it.
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from drivetrain.dialects.cog.config import read_config
from drivetrain.dialects.cog.doctor.case import ConfigFile
from drivetrain.dialects.cog.doctor.edit import Edit


def remove_key(config: ConfigFile, line: int | None) -> tuple[Edit, ...]:
    """Remove the key that stands in a line, with its value; nothing if that is not safe."""
    for key, value in _entries(config):
        if key.start_mark.line + 1 == line and _begins_line(config, key):
            last = max(_last_line(value), key.end_mark.line)
            lines = config.text.splitlines(keepends=True)
            return _if_harmless(config, len("".join(lines[: key.start_mark.line])), len("".join(lines[: last + 1])), "")
    return ()


def rename_key(config: ConfigFile, line: int | None, name: str) -> tuple[Edit, ...]:
    """Give the key that stands in a line another name; nothing if that is not safe."""
    for key, _ in _entries(config):
        if key.start_mark.line + 1 == line:
            return _if_harmless(config, key.start_mark.index, key.end_mark.index, name)
    return ()


def _entries(config: ConfigFile) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    """Keys and values of every mapping that is reached from the top by keys alone."""
    pending = [yaml.compose(config.text, Loader=yaml.SafeLoader)]
    while pending:
        node = pending.pop()
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                pending.append(value)
                if isinstance(key, yaml.ScalarNode):
                    yield key, value


def _begins_line(config: ConfigFile, key: yaml.ScalarNode) -> bool:
    start = key.start_mark
    return not config.text[start.index - start.column : start.index].strip()


def _last_line(node: yaml.Node) -> int:
    """The line, from 0, where a value ends. A block ends with its last value, not where the parser notices."""
    if isinstance(node, yaml.ScalarNode) or getattr(node, "flow_style", False) or not node.value:
        mark = node.end_mark
        return int(mark.line) if mark.column else int(mark.line) - 1
    last = node.value[-1]
    return _last_line(last[1] if isinstance(last, tuple) else last)


def _if_harmless(config: ConfigFile, start: int, end: int, text: str) -> tuple[Edit, ...]:
    after = config.text[:start] + text + config.text[end:]
    reading = read_config(after, file=config.path, root=config.path.parent, shown_as=config.shown_as)
    if reading.project is None or reading.project != config.reading.project:
        return ()
    begin = config.content.find(config.text.encode())  # behind a byte order mark
    if begin < 0:  # not UTF-8
        return ()
    first, last = (begin + len(config.text[:offset].encode()) for offset in (start, end))
    return (Edit(path=config.path, start=first, end=last, text=text),)
