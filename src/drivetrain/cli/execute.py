"""``drivetrain exec``: a command inside the project's environment."""

from __future__ import annotations

import shutil

import click

from drivetrain.cli.image_words import ImageFlags, image_among, image_options
from drivetrain.cli.opening import open_project
from drivetrain.cli.options import container_options, project_options
from drivetrain.cli.replacement import replace_process
from drivetrain.cli.terminal import Terminal
from drivetrain.model.errors import Misuse
from drivetrain.model.project import Mode
from drivetrain.serving.launch import process_variables


@click.command(
    name="exec",
    short_help="Run a command inside the project's environment.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("arguments", nargs=-1, required=True, metavar="COMMAND [ARGUMENT]...", type=click.UNPROCESSED)
@click.option("-p", "--publish", "ports", multiple=True, metavar="PORT", hidden=True)
@click.option("--image", metavar="IMAGE", help="Run it in a container of an image instead of the project's environment.")
@project_options
@container_options
@image_options
@click.pass_obj
def command(
    terminal: Terminal,
    arguments: tuple[str, ...],
    ports: tuple[str, ...],
    image: str | None,
    config_name: str | None,
    variables: tuple[str, ...],
    realisation: str,
    engine: str,
    gpus: str | None,
    platform: str | None,
) -> None:
    """Run a command inside the environment of the project in this directory, or in an image.

    It runs in the working directory, with this terminal, and its exit status is the command's. Options of
    exec itself come before the command.

    \b
        drivetrain exec python scripts/convert.py --half
        drivetrain exec pip list
        drivetrain exec --image registry.example.com/team/model python -V
    """
    flags = ImageFlags(engine=engine, gpus=gpus, platform=platform)
    if image is not None:
        from drivetrain.cli.image_running import become, prepare, terminal_flags

        become(prepare(image, flags, terminal, variables=variables, ports=ports, arguments=arguments), *terminal_flags())
    image_among((), flags, terminal, command="exec")
    if ports:
        terminal.note("--publish has no meaning without a container: the command's ports are this machine's")
    opening = open_project(terminal, config_name=config_name, realisation=realisation, variables=variables)
    environment = opening.environment(terminal)
    environ = process_variables(opening.command(environment, Mode.PREDICT))
    program = shutil.which(arguments[0], path=environ.get("PATH"))
    if program is None:
        raise Misuse(f"there is no command '{arguments[0]}' in the project's environment or on PATH")
    replace_process(program, arguments, environ)
