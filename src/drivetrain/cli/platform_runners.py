"""``drivetrain runners``: what runs."""

from __future__ import annotations

import click

from drivetrain.cli.connection import platform_options, this_connection
from drivetrain.cli.terminal import Terminal


@click.command(name="runners", short_help="List, or stop, the runners of a platform.")
@click.option("--stop", "to_stop", metavar="ID", help="Stop a runner after its predictions.")
@click.option("--now", is_flag=True, help="With --stop: at once.")
@platform_options
@click.pass_obj
def command(terminal: Terminal, to_stop: str | None, now: bool, platform_url: str | None, as_json: bool) -> int:
    """List the runners of a platform, and say why there are not more where more are wanted."""
    connection = this_connection(platform_url)
    from drivetrain.cli.outputs import write_json
    from drivetrain.cli.platform_client import PlatformClient
    from drivetrain.cli.table import age, write_table

    with PlatformClient(connection) as client:
        if to_stop is not None:
            client.delete(f"/runners/{to_stop}", now=True if now else None)
            terminal.note(f"Runner {to_stop} ends" + ("" if now else " after its predictions"))
            return 0
        found = client.get("/runners")
    if as_json:
        write_json(found, indent=True)
        return 0
    rows = [
        (
            runner["id"],
            runner["app"],
            runner["number"],
            runner["state"],
            f"{runner['busy']}/{runner['slots']}",
            runner["served"],
            ",".join(runner["gpus"]),
            age(runner["started_at"]),
        )
        for runner in found["results"]
    ]
    write_table(("RUNNER", "APP", "REVISION", "STATE", "BUSY", "SERVED", "GPUS", "AGE"), rows)
    for app, why in found["unplaced"].items():
        terminal.warn(f"{app} wants a runner and gets none: {why}")
    return 0
