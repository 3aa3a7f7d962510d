"""``drivetrain rm``: take an app out of service."""

from __future__ import annotations

import sys

import click

from drivetrain.cli.connection import platform_options, this_connection
from drivetrain.cli.terminal import Terminal
from drivetrain.model.errors import Misuse


@click.command(name="rm", short_help="Remove an app from a platform.")
@click.argument("name", metavar="OWNER/APP")
@click.option("--yes", is_flag=True, help="Do not ask.")
@platform_options
@click.pass_obj
def command(terminal: Terminal, name: str, yes: bool, platform_url: str | None, as_json: bool) -> int:
    """Remove an app with its revisions, secrets, predictions and data. What waits and runs is canceled."""
    connection = this_connection(platform_url)
    from drivetrain.cli.deploy import full_name
    from drivetrain.cli.outputs import write_json
    from drivetrain.cli.platform_client import PlatformClient

    with PlatformClient(connection) as client:
        app = full_name(client, name)
        if not yes:
            if not sys.stdin.isatty():
                raise Misuse(f"'{app}' would be removed for good", hint="--yes says that it is meant")
            click.confirm(f"Remove {app} with all that belongs to it?", abort=True, err=True)
        client.delete(f"/apps/{app}")
    if as_json:
        write_json({"removed": app}, indent=True)
    else:
        terminal.note(f"Removed {app}")
    return 0
