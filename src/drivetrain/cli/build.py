"""``drivetrain build``: an image from a project."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from drivetrain.cli.building import BuildFlags, Finished, build, build_options
from drivetrain.cli.image_options import image_name, insecure_option, readable, shown, transfers
from drivetrain.cli.terminal import Terminal
from drivetrain.images.reference import Reference
from drivetrain.images.transfer import Transfers
from drivetrain.model.errors import Misuse
from drivetrain.settings import Settings, read_settings


@click.command(name="build", short_help="Build an image.")
@click.option(
    "-t", "--tag", metavar="NAME", help="Name of the image. [default: 'image' in the config, else made of the directory's name]"
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.tar|DIRECTORY",
    help="Also write the image there: as an OCI layout, or as an archive for 'docker load' if it ends in .docker.tar.",
)
@click.option("--load", "loads", is_flag=True, help="Also hand the image to the container engine that is here.")
@click.option(
    "--sbom",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write what is in it, as SPDX if the name ends in .spdx.json, else as CycloneDX.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was built as a JSON object.")
@build_options
@insecure_option
@click.pass_obj
def command(
    terminal: Terminal,
    /,
    tag: str | None,
    output: Path | None,
    loads: bool,
    sbom: Path | None,
    as_json: bool,
    insecure: bool,
    **flags: Any,
) -> None:
    """Build an OCI image from the project in this directory, without a container engine where none is needed.

    The image serves the model as one that Cog built: on port 5000, with the same API. It is kept on this machine for push, run and
    serve. Its digest is printed.

    \b
        drivetrain build -t registry.example.com/team/model
        drivetrain build --output model.docker.tar && docker load -i model.docker.tar
        drivetrain build --platform linux/amd64,linux/arm64
    """
    settings = read_settings(os.environ)
    moves = transfers(settings, insecure=insecure)
    if output is not None and output.suffix == ".tar" and not output.absolute().parent.is_dir():
        raise Misuse(f"there is no directory '{output.absolute().parent}' to write '{output.name}' to")
    built = build(BuildFlags(**flags), settings, moves, terminal)
    reference = image_name(built.project, tag)
    moves.store.tag(str(reference), built.descriptor)
    if output is not None:
        _write(moves, built, reference, output, terminal)
    if sbom is not None:
        _write_sbom(built, reference, sbom)
    if loads:
        _load(moves, built, reference, settings, terminal)
    _tell(moves, built, reference, terminal, as_json=as_json)


def _write(moves: Transfers, built: Finished, reference: Reference, output: Path, terminal: Terminal) -> None:
    from drivetrain.images.export import write_docker_archive, write_layout

    for one in built.images:
        moves.complete(moves.store.manifest(one.descriptor.digest))
    manifest = moves.store.manifest(built.descriptor.digest)
    if not output.name.endswith(".docker.tar"):
        write_layout(moves.store, manifest, str(reference), output)
    elif manifest.is_index:
        raise Misuse("an archive for 'docker load' holds one image", hint="name one platform, or write an OCI layout")
    else:
        write_docker_archive(moves.store, moves.store.image(manifest), shown(reference), output)
    terminal.note(f"Written to: {output}")


def _write_sbom(built: Finished, reference: Reference, path: Path) -> None:
    from drivetrain.images.sbom import cyclonedx, spdx

    form = spdx if path.name.endswith(".spdx.json") else cyclonedx
    document = form(shown(reference), built.images[0].descriptor.digest, built.images[0].packages)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _load(moves: Transfers, built: Finished, reference: Reference, settings: Settings, terminal: Terminal) -> None:
    from drivetrain.cli.progress import progress_on
    from drivetrain.images.engine_run import load_image
    from drivetrain.images.engines import find_engine

    engine = find_engine("auto", settings)
    with progress_on(terminal) as progress:
        progress.step(f"Handing the image to {engine.name}")
        load_image(engine, moves, moves.store.manifest(built.images[0].descriptor.digest), shown(reference))


def _tell(moves: Transfers, built: Finished, reference: Reference, terminal: Terminal, *, as_json: bool) -> None:
    sizes = [sum(layer.size for layer in moves.store.manifest(one.descriptor.digest).layers) for one in built.images]
    if as_json:
        result = {"image": shown(reference), "digest": built.descriptor.digest, "size": max(sizes)}
        click.echo(json.dumps(result))
        return
    terminal.note(f"Built {shown(reference)}, {readable(max(sizes))}")
    click.echo(built.descriptor.digest)
