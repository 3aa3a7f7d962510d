"""What the checks look at: a project's files as they were read, and facts about the host."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from drivetrain.dialects.cog.config import Reading
from drivetrain.dialects.cog.static.entry_point import EntryPoint
from drivetrain.dialects.cog.static.scope import Scope
from drivetrain.dialects.cog.yaml_nodes import Mapping, Node, Scalar, Sequence
from drivetrain.model.finding import Finding
from drivetrain.model.project import EnvironmentSpec, Project, Reference


@dataclass(frozen=True, kw_only=True)
class ConfigFile:
    """A config file and what became of it.

    Attributes:
        path: Where it is.
        shown_as: The file as the user would name it.
        content: Its bytes; empty if it cannot be read.
        text: What they say; empty if they are no text.
        reading: Project and findings.
        nodes: Its keys and values with their lines.
    """

    path: Path
    shown_as: str
    content: bytes
    text: str
    reading: Reading
    nodes: Mapping | None

    def scalars(self, key: str) -> Iterator[Scalar]:
        """Every single value under a key of the top level."""
        entry = self.nodes.entries.get(key) if self.nodes is not None else None
        if entry is not None:
            yield from _scalars(entry.value)


@dataclass(frozen=True, kw_only=True, eq=False)
class PythonFile:
    """A source file of the project.

    Attributes:
        path: Where it is.
        name: Its path from the project's root.
        content: Its bytes.
        tree: What they say.
        scope: Its top level, which tells what names stand for.
    """

    path: Path
    name: str
    content: bytes
    tree: ast.Module
    scope: Scope


@dataclass(frozen=True, kw_only=True, eq=False)
class Entrance:
    """One of the references of the config, and what is behind it.

    Attributes:
        reference: What the config says.
        refusals: Why it cannot be run.
        doubts: What cannot be told from its source.
        entry_point: The function behind it, if it can be told.
    """

    reference: Reference
    refusals: tuple[Finding, ...] = ()
    doubts: tuple[str, ...] = ()
    entry_point: EntryPoint | None = None


@dataclass(frozen=True, kw_only=True)
class LargeFile:
    """A file that weighs.

    Attributes:
        name: Its path from the project's root.
        size: In bytes.
    """

    name: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Gpus:
    """What the host has of NVIDIA's.

    Attributes:
        count: How many there are.
        driver: Version of the driver; ``None`` if there is none.
    """

    count: int
    driver: tuple[int, ...] | None


@dataclass(frozen=True, kw_only=True)
class Host:
    """Facts about the machine, as far as they concern one project.

    Attributes:
        system: As ``platform.system()``.
        python: Version of the installed Python that the project would get; ``None`` if none suits.
        installed_pythons: Versions of all that are installed, unless the environment is there already.
        can_fetch_python: Whether one that suits can be fetched.
        system_packages: What is missing of the system packages that the project asks for.
        gpus: NVIDIA's.
        torch_builds: Which builds of PyTorch the project would get: ``cpu``, ``cu126`` and the like.
        environment_is_made: Whether the project's environment is there already.
        cache_directory: Where environments are kept.
        cache_problem: Why nothing can be written there.
        free_bytes: Space on its disk.
        has_root_at_src: Whether ``/src`` is the project, as in an image.
    """

    system: str
    python: str | None
    installed_pythons: tuple[str, ...]
    can_fetch_python: bool
    system_packages: Finding | None
    gpus: Gpus
    torch_builds: str | None
    environment_is_made: bool
    cache_directory: Path
    cache_problem: str | None
    free_bytes: int
    has_root_at_src: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A project whose config is right, with all that is looked at.

    Attributes:
        project: The project.
        config: Its config file.
        host: Facts about the machine.
        entrances: What the config names to run.
        sources: The files that the entry points are in and those of the project that these import, nearest first.
        large_files: Large files that an image build would take into the image.
    """

    project: Project
    config: ConfigFile
    host: Host
    entrances: tuple[Entrance, ...]
    sources: tuple[PythonFile, ...]
    large_files: tuple[LargeFile, ...]

    @property
    def environment(self) -> EnvironmentSpec:
        """What the project asks of its environment."""
        return self.project.environment

    def source(self, name: str) -> PythonFile | None:
        """The source file of a name."""
        return next((source for source in self.sources if source.name == name), None)

    @property
    def entry_points(self) -> tuple[EntryPoint, ...]:
        """The functions behind the entrances, as far as they can be told."""
        return tuple(entrance.entry_point for entrance in self.entrances if entrance.entry_point is not None)


def _scalars(node: Node) -> Iterator[Scalar]:
    if isinstance(node, Scalar):
        yield node
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from _scalars(item)
    else:
        for entry in node.entries.values():
            yield from _scalars(entry.value)
