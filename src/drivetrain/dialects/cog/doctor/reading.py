"""Reads what the checks look at. They themselves read nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from drivetrain.dialects.cog.config import Reading, read_config
from drivetrain.dialects.cog.discovery import LARGEST_CONFIG
from drivetrain.dialects.cog.doctor.case import Case, ConfigFile, Entrance, Host, LargeFile
from drivetrain.dialects.cog.doctor.ignore_file import IgnoreFile
from drivetrain.dialects.cog.doctor.sources import read_sources
from drivetrain.dialects.cog.findings import Findings
from drivetrain.dialects.cog.static.entry_point import find_entry_point
from drivetrain.dialects.cog.static.source import SourceTree
from drivetrain.dialects.cog.static_reading import read_entry_point
from drivetrain.dialects.cog.text_file import read_text
from drivetrain.dialects.cog.yaml_nodes import Mapping, parse_yaml
from drivetrain.model.errors import ProjectError
from drivetrain.model.project import Mode, Project, Reference

#: From here on a file is one of those that people wonder about when their image is large.
LARGE_BYTES = 100 * 1000 * 1000

#: Never part of what an author means to ship.
_NOT_SHIPPED = frozenset({".git", ".venv", "venv", ".cog", "__pycache__", "node_modules"})


def read_config_file(path: Path) -> ConfigFile:
    """Read a config file, whatever is in it."""
    shown_as = os.path.relpath(path)
    findings = Findings(shown_as)
    text = read_text(path, findings, largest=LARGEST_CONFIG)
    if text is None:
        reading = Reading(project=None, findings=findings.in_order())
        return ConfigFile(path=path, shown_as=shown_as, content=b"", text="", reading=reading, nodes=None)
    nodes = parse_yaml(text, Findings(shown_as))
    return ConfigFile(
        path=path,
        shown_as=shown_as,
        content=path.read_bytes(),
        text=text,
        reading=read_config(text, file=path, root=path.parent, shown_as=shown_as),
        nodes=nodes if isinstance(nodes, Mapping) else None,
    )


def read_case(project: Project, config: ConfigFile, host: Host) -> Case:
    """Read the files of a project whose config is right."""
    tree = SourceTree(project.root)
    references = {mode: reference for mode in Mode if (reference := project.entry_point(mode)) is not None}
    return Case(
        project=project,
        config=config,
        host=host,
        entrances=tuple(_entrance(project, tree, mode, reference) for mode, reference in references.items()),
        sources=read_sources(tree, (reference.file for reference in references.values())),
        large_files=tuple(_large_files(project.root)),
    )


def _entrance(project: Project, tree: SourceTree, mode: Mode, reference: Reference) -> Entrance:
    try:
        reading = read_entry_point(project, reference, mode)
        found = find_entry_point(tree, tree.parse(reference.file), reference.name, mode=mode.value)
    except ProjectError as error:
        return Entrance(reference=reference, refusals=error.findings)
    except (SyntaxError, ValueError):  # for a newer Python than ours, which the reading has let pass
        return Entrance(reference=reference, doubts=reading.notes)
    return Entrance(reference=reference, doubts=() if reading.complete else reading.notes, entry_point=found)


def _large_files(root: Path) -> Iterator[LargeFile]:
    ignore_file = root / ".dockerignore"
    lines = ignore_file.read_text(encoding="utf-8", errors="replace").splitlines() if ignore_file.is_file() else []
    ignored = IgnoreFile(lines)
    for directory, subdirectories, names in os.walk(root):
        subdirectories[:] = sorted(name for name in subdirectories if name not in _NOT_SHIPPED)
        for path in (Path(directory, name) for name in sorted(names)):
            size = path.lstat().st_size
            name = path.relative_to(root).as_posix()
            if size >= LARGE_BYTES and not ignored.ignores(name):
                yield LargeFile(name=name, size=size)
