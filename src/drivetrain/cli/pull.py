"""``drivetrain pull``: bring an image here."""

from __future__ import annotations

import os

import click

from drivetrain.cli.image_options import TransferProgress, host_platform, insecure_option, tell_moved, transfers
from drivetrain.cli.progress import progress_on
from drivetrain.cli.terminal import Terminal
from drivetrain.images.descriptor import platform_of
from drivetrain.images.reference import parse_reference
from drivetrain.settings import read_settings


@click.command(name="pull", short_help="Bring an image here from a registry.")
@click.argument("image")
@click.option("--platform", metavar="PLATFORM", help="Which of several to bring; 'all' brings them all. [default: this machine's]")
@insecure_option
@click.pass_obj
def command(terminal: Terminal, image: str, platform: str | None, insecure: bool) -> None:
    """Bring an image here, for run, serve and push: only what is not here yet. Its digest is printed.

    \b
        drivetrain pull registry.example.com/team/model
    """
    settings = read_settings(os.environ)
    reference = parse_reference(image)
    wanted = None if platform == "all" else platform_of(platform) if platform else host_platform()
    with progress_on(terminal) as progress:
        progress.step(f"Bringing {image}")
        moved = transfers(settings, insecure=insecure, watcher=TransferProgress(progress)).pull(reference, wanted)
    tell_moved(terminal, "Brought", reference, moved.pieces, moved.size, moved.there)
    click.echo(moved.descriptor.digest)
