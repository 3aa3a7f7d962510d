"""``drivetrain queue``: what waits."""

from __future__ import annotations

import click

from drivetrain.cli.connection import platform_options, this_connection


@click.command(name="queue", short_help="Show what waits and runs on a platform.")
@platform_options
def command(platform_url: str | None, as_json: bool) -> int:
    """Show how many predictions wait and run, by app and revision."""
    connection = this_connection(platform_url)
    from drivetrain.cli.outputs import write_json
    from drivetrain.cli.platform_client import PlatformClient
    from drivetrain.cli.table import age, write_table

    with PlatformClient(connection) as client:
        found = client.get("/queue")["results"]
    if as_json:
        write_json(found, indent=True)
        return 0
    rows = [(load["app"], load["number"], load["waiting"], load["running"], age(load["oldest_waiting_at"])) for load in found]
    write_table(("APP", "REVISION", "WAITING", "RUNNING", "OLDEST"), rows)
    return 0
