"""``drivetrain inspect``: what an image is, from its manifest and config alone."""

from __future__ import annotations

import json
import os
from typing import Any

import click

from drivetrain.cli.image_options import host_platform, insecure_option, readable, shown, transfers
from drivetrain.cli.terminal import Terminal
from drivetrain.images.description import describe_image
from drivetrain.images.descriptor import platform_of
from drivetrain.images.image import Manifest
from drivetrain.images.labels import packages_of
from drivetrain.images.reference import Reference, parse_reference
from drivetrain.images.transfer import Transfers
from drivetrain.settings import read_settings


@click.command(name="inspect", short_help="Show what an image is.")
@click.argument("image")
@click.option("--platform", metavar="PLATFORM", help="Which of several to show. [default: this machine's]")
@click.option("--remote", is_flag=True, help="Ask the registry, even where the image is on this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print all of it as a JSON object.")
@click.option("--sbom", type=click.Choice(["cyclonedx", "spdx"]), help="Print what is in it, in one of these forms.")
@insecure_option
@click.pass_obj
def command(
    terminal: Terminal, image: str, platform: str | None, remote: bool, as_json: bool, sbom: str | None, insecure: bool
) -> None:
    """Show what an image is: layers, sizes, config, schema, packages. Nothing of it is brought here but its description.

    \b
        drivetrain inspect registry.example.com/team/model
        drivetrain inspect --json model | jq .schema
    """
    moves = transfers(read_settings(os.environ), insecure=insecure)
    reference = parse_reference(image)
    manifest = None if remote else moves.store.resolve(reference)
    found = _chosen(moves, reference, manifest, platform)
    value = moves.store.image(found)
    if sbom is not None:
        from drivetrain.images.sbom import cyclonedx, spdx

        form = spdx if sbom == "spdx" else cyclonedx
        click.echo(json.dumps(form(shown(reference), found.descriptor.digest, packages_of(value.labels)), indent=2))
        return
    description = describe_image(shown(reference), found, value)
    if as_json:
        click.echo(json.dumps(description, indent=2, ensure_ascii=False))
        return
    _print(description)


def _chosen(moves: Transfers, reference: Reference, manifest: Manifest | None, platform: str | None) -> Manifest:
    """The image for a platform: from here, else from its registry."""
    from drivetrain.images.store import select_platform

    wanted = platform_of(platform) if platform else host_platform()
    if manifest is not None and manifest.is_index:
        manifest = moves.store.manifest(select_platform(manifest, wanted, shown(reference)).digest)
    if manifest is not None:
        return manifest
    with moves.registry(reference) as registry:
        return moves.fetch_manifest(reference, registry, wanted)


def _print(description: dict[str, Any]) -> None:
    for name in ("image", "digest", "platform", "base", "model", "size"):
        if description.get(name) is not None:
            value = readable(description[name]) if name == "size" else description[name]
            click.echo(f"{name + ':':10}{value}")
    click.echo(f"runs:     {' '.join([*description['entrypoint'], *description['command']])}")
    if description["inputs"]:
        click.echo(f"inputs:   {', '.join(description['inputs'])}")
    click.echo(f"packages: {len(description['packages'])}")
    click.echo("layers:")
    for layer in description["layers"]:
        click.echo(f"{readable(layer['size']):>10}  {layer['digest'][7:19]}  {layer['made_by'][:100]}")
