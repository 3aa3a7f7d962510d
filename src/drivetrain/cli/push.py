"""``drivetrain push``: build what is not built, and send what a registry has not."""

from __future__ import annotations

import os
from typing import Any

import click

from drivetrain.cli.building import BuildFlags, build, build_options
from drivetrain.cli.image_options import TransferProgress, image_name, insecure_option, pushable, shown, tell_moved, transfers
from drivetrain.cli.progress import progress_on
from drivetrain.cli.terminal import Terminal
from drivetrain.images.errors import ImageNotFound
from drivetrain.images.image import Manifest
from drivetrain.images.reference import Reference, parse_reference
from drivetrain.images.transfer import Transfers
from drivetrain.settings import Settings, read_settings


@click.command(name="push", short_help="Build an image and send it to a registry.")
@click.argument("image", required=False)
@click.option("-t", "--tag", hidden=True, metavar="NAME")
@click.option("--no-build", is_flag=True, help="Send the image that was built or pulled before under this name.")
@build_options
@insecure_option
@click.pass_obj
def command(terminal: Terminal, /, image: str | None, tag: str | None, no_build: bool, insecure: bool, **flags: Any) -> None:
    """Build the project in this directory and send the image to its registry: only what is not there yet.

    IMAGE is the name to push to; without one, "image" in the config counts. The image's digest is printed.

    \b
        drivetrain push registry.example.com/team/model
        drivetrain push --no-build registry.example.com/team/model:v2
    """
    settings = read_settings(os.environ)
    name = image or tag
    named = pushable(parse_reference(name)) if name is not None else None  # before anything is built
    moves = transfers(settings, insecure=insecure)
    if no_build and named is not None:
        manifest = moves.store.resolve(named)
        if manifest is None:
            raise ImageNotFound(f"there is no image '{shown(named)}' on this machine", hint="leave out --no-build to build it")
        reference = named
    else:
        reference, manifest = _built(named, flags, terminal, moves, settings)
    with progress_on(terminal) as progress:
        progress.step(f"Sending {shown(reference)}")
        moved = transfers(settings, insecure=insecure, watcher=TransferProgress(progress)).push(manifest, reference)
    tell_moved(terminal, "Sent", reference, moved.pieces, moved.size, moved.there)
    click.echo(moved.descriptor.digest)


def _built(
    named: Reference | None, flags: dict[str, Any], terminal: Terminal, moves: Transfers, settings: Settings
) -> tuple[Reference, Manifest]:
    built = build(BuildFlags(**flags), settings, moves, terminal)
    reference = named or pushable(image_name(built.project, None))
    moves.store.tag(str(reference), built.descriptor)
    return reference, moves.store.manifest(built.descriptor.digest)
