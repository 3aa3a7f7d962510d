"""A project as the rest of drivetrain sees it, whatever dialect it was written in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import Enum
from pathlib import Path

import msgspec


class Mode(Enum):
    """Which of a project's two entry points is meant."""

    PREDICT = "predict"
    TRAIN = "train"


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Where an entry point is: ``file.py:Name``."""

    file: str
    name: str

    def __str__(self) -> str:
        return f"{self.file}:{self.name}"


class BuildCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A shell command that an image build runs after the Python packages are in.

    Attributes:
        command: One line for ``/bin/sh``.
        secret_mounts: ``(id, target)`` pairs of build secrets the command wants mounted.
    """

    command: str
    secret_mounts: tuple[tuple[str, str], ...] = ()


class EnvironmentSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a project asks of its environment.

    Attributes:
        python_version: ``MAJOR.MINOR`` or ``MAJOR.MINOR.PATCH`` as written; ``None`` leaves the choice to us.
        requirements: Requirement lines and pip options, normalised: no comments, no blank lines, continuations joined,
            paths still relative to ``root``.
        gpu: Whether the project wants CUDA builds of its frameworks.
        cuda: CUDA version the project names, if any.
        cudnn: cuDNN version the project names, if any.
        base: Image to build an image on, if the project names one.
        system_packages: Debian package names.
        commands: Shell commands an image build runs (``build.run`` and ``build.pre_install``).
        variables: Environment variables set for the model.
        root: Directory that relative paths in ``requirements`` start from.
    """

    root: Path
    python_version: str | None = None
    requirements: tuple[str, ...] = ()
    gpu: bool = False
    cuda: str | None = None
    cudnn: str | None = None
    base: str | None = None
    system_packages: tuple[str, ...] = ()
    commands: tuple[BuildCommand, ...] = ()
    variables: Mapping[str, str] = {}


class WeightSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where a managed weight comes from, and which of its files are wanted."""

    uri: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class Weight(msgspec.Struct, frozen=True, kw_only=True):
    """A managed weight: a named set of files that must stand at ``target`` when the model starts."""

    name: str
    target: str
    sources: tuple[WeightSource, ...]


class BatchPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When predictions that wait are run together.

    Attributes:
        max_size: How many at most.
        max_wait: How long the first of them may be kept waiting for others, while a worker is idle.
    """

    max_size: int = 8
    max_wait: timedelta = timedelta(milliseconds=5)


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A directory that holds a model someone wrote.

    Attributes:
        root: The project's directory; the worker's working directory.
        dialect: The contract it is written to.
        config_file: The file that describes it.
        environment: What it asks of its interpreter and host.
        predict: Entry point for predictions.
        train: Entry point for trainings.
        concurrency: Predictions one worker may run at once, if the config says so.
        batch: How to run predictions together, if the config says so; code may ask for it too.
        image: Name for an image built from it, if the config says so.
        model: ``registry/repository`` for the newer bundle push, if the config says so.
        weights: Managed weights.
    """

    root: Path
    dialect: str
    config_file: Path
    environment: EnvironmentSpec
    predict: Reference | None = None
    train: Reference | None = None
    concurrency: int | None = None
    batch: BatchPolicy | None = None
    image: str | None = None
    model: str | None = None
    weights: tuple[Weight, ...] = ()

    def entry_point(self, mode: Mode) -> Reference | None:
        """The reference for ``mode``, or ``None`` if the project has none."""
        return self.predict if mode is Mode.PREDICT else self.train
