"""Images on the command lines of commands that otherwise take the project in this directory. Imports little: these start fast."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec

from drivetrain.cli.terminal import Terminal
from drivetrain.model.errors import Misuse

Command = TypeVar("Command", bound=Callable[..., Any])


class ImageFlags(msgspec.Struct, frozen=True, kw_only=True):
    """The options that only an image gives a meaning to.

    Attributes:
        engine: ``auto``, or an engine by name.
        gpus: Which GPUs the container sees.
        platform: Which image of several.
    """

    engine: str = "auto"
    gpus: str | None = None
    platform: str | None = None


def image_options(command: Command) -> Command:
    """``--engine``, ``--gpus`` and ``--platform``."""
    for option in reversed(
        (
            click.option(
                "--engine",
                type=click.Choice(["auto", "docker", "podman", "unpack"]),
                default="auto",
                help="With an image: what runs it; unpack is no engine at all, for Linux. [default: the first that is there of "
                "docker and podman]",
            ),
            click.option(
                "--gpus",
                metavar="GPUS",
                help="With an image: the GPUs it sees, as for docker; 'all' or 'none'. [default: all, if it asks for one]",
            ),
            click.option("--platform", metavar="PLATFORM", help="With an image: which of several. [default: this machine's]"),
        )
    ):
        command = option(command)
    return command


def image_among(words: tuple[str, ...], flags: ImageFlags, terminal: Terminal, *, command: str = "run") -> str | None:
    """The image that a command line names, if it names one.

    Raises:
        Misuse: It has words that name none.
    """
    if len(words) == 1 and _names_image(words[0]):
        return words[0]
    if words:
        raise Misuse(
            f"{command} takes no '{words[0]}': it runs the project in this directory",
            hint=f"to run a command in the project's environment: drivetrain exec {' '.join(words)}",
        )
    engine = None if flags.engine == "auto" else flags.engine
    for name, value in (("--engine", engine), ("--gpus", flags.gpus), ("--platform", flags.platform)):
        if value is not None:
            terminal.note(f"{name} has no meaning without a container: the model sees this machine as it is")
    return None


def _names_image(text: str) -> bool:
    """Whether a word names an image: it has a registry, an owner or a tag, or it was built or pulled here."""
    from drivetrain.cli.image_options import image_store
    from drivetrain.images.reference import parse_reference
    from drivetrain.settings import read_settings

    try:
        reference = parse_reference(text)
    except Misuse:
        return False
    return any(mark in text for mark in "/:@") or image_store(read_settings(os.environ)).resolve(reference) is not None
