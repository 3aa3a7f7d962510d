"""Options that several commands share, and what those of Cog's command line mean without a container."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from drivetrain.cli.terminal import Terminal

Command = TypeVar("Command", bound=Callable[..., Any])

#: Value of ``--json`` when it was given without one: print JSON, take no inputs from it.
BARE_JSON = "\0"

#: Options of Cog's command line that only a container gives a meaning to: name, whether it takes a value, why it has none.
CONTAINER_OPTIONS = (
    ("--gpus", True, "the model sees this machine's GPUs as they are; choose some with -e CUDA_VISIBLE_DEVICES=0"),
    ("--progress", True, "no image is built"),
    ("--no-cache", False, "no image is built"),
    ("--secret", True, "no image is built; the model sees the variables of this shell and those given with -e"),
    ("--separate-weights", False, "no image is built"),
    ("--use-cuda-base-image", True, "no image is built"),
    ("--use-cog-base-image", True, "no image is built"),
    ("--dockerfile", True, "no image is built"),
    ("--openapi-schema", True, "the schema is read from the code"),
    ("--strip", False, "no image is built"),
    ("--precompile", False, "no image is built"),
    ("--timestamp", True, "no image is built"),
    ("--skip-schema-validation", False, "no image is built"),
)


def container_options(command: Command) -> Command:
    """Accept Cog's container options; each says on use why it does nothing."""
    meant = {name for parameter in getattr(command, "__click_params__", ()) for name in parameter.opts}
    for name, takes_value, reason in reversed(CONTAINER_OPTIONS):
        if name not in meant:  # with an image it has a meaning
            command = _ignored_option(name, takes_value, reason)(command)
    return command


def _ignored_option(name: str, takes_value: bool, reason: str) -> Callable[[Command], Command]:
    def tell(ctx: click.Context, _parameter: click.Parameter, value: Any) -> None:
        if value and isinstance(terminal := ctx.find_object(Terminal), Terminal):
            terminal.note(f"{name} has no meaning without a container: {reason}")

    return click.option(
        name,
        is_flag=not takes_value,
        multiple=takes_value,
        expose_value=False,
        callback=tell,
        hidden=True,
        metavar="VALUE" if takes_value else None,
    )


def input_option(command: Command) -> Command:
    """``-i``: inputs, as texts."""
    return click.option(
        "-i",
        "--input",
        "texts",
        multiple=True,
        metavar="NAME=VALUE",
        help="An input; NAME=@PATH gives a file. May be repeated; a repeated name makes a list.",
    )(command)


def json_option(command: Command) -> Command:
    """``--json``: the result as JSON, and perhaps the inputs from JSON; ``BARE_JSON`` where it came without a value."""
    return click.option(
        "--json",
        "json_source",
        is_flag=False,
        flag_value=BARE_JSON,
        metavar="[JSON|@FILE|-]",
        help="Print the result as a JSON object; with a value, also take the inputs from it.",
    )(command)


def project_options(command: Command) -> Command:
    """``-f``, ``-e`` and ``--env``: which project, and what its processes see."""
    for option in reversed(
        (
            click.option(
                "-f",
                "--file",
                "config_name",
                metavar="FILE",
                help="Name of the config file, here or in a directory above. [default: cog.yaml]",
            ),
            click.option(
                "-e",
                "--environment",
                "variables",
                multiple=True,
                metavar="NAME=VALUE",
                help="An environment variable for the model. May be repeated.",
            ),
            click.option(
                "--env",
                "realisation",
                type=click.Choice(["venv", "host"]),
                default="venv",
                show_default=True,
                help="What the model runs in. venv: all that the project asks for. host: the Python on PATH, as it is.",
            ),
        )
    ):
        command = option(command)
    return command
