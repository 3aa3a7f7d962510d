"""``drivetrain scale``: change an app's settings, at once."""

from __future__ import annotations

from typing import Any

import click

from drivetrain.cli.connection import platform_options, this_connection
from drivetrain.cli.deploy import full_name, given, memory_bytes, resource_options, scaling_options
from drivetrain.cli.terminal import Terminal
from drivetrain.model.errors import Misuse


@click.command(name="scale", short_help="Change how an app on a platform scales.")
@click.argument("name", metavar="OWNER/APP")
@scaling_options
@resource_options
@platform_options
@click.pass_obj
def command(
    terminal: Terminal,
    /,
    name: str,
    gpus: int | None,
    memory: float | None,
    cpus: float | None,
    access: str | None,
    platform_url: str | None,
    as_json: bool,
    **scaling: Any,
) -> int:
    """Change an app's settings. They are at work at once, without a new revision; what is not given stays as it is.

    \b
        drivetrain scale me/hello --min 1 --max 4
        drivetrain scale me/hello --keep-alive 600 --access shared
    """
    changes = given({"scaling": given(scaling) or None, "access": access})
    if resources := given({"gpus": gpus, "memory": memory_bytes(memory), "cpus": cpus}):
        changes["resources"] = resources
    if not changes:
        raise Misuse("there is nothing to change", hint="'drivetrain scale --help' lists the settings")
    connection = this_connection(platform_url)
    from drivetrain.cli.outputs import write_json
    from drivetrain.cli.platform_client import PlatformClient

    with PlatformClient(connection) as client:
        app = client.patch(f"/apps/{full_name(client, name)}", changes)
    if as_json:
        write_json(app, indent=True)
        return 0
    settings = {**app["scaling"], **app["resources"], "access": app["access"]}
    changed = [*changes.get("scaling", {}), *changes.get("resources", {}), *(["access"] if access else [])]
    terminal.note(f"{app['name']}: " + ", ".join(f"{key} is {settings[key]}" for key in changed))
    return 0
