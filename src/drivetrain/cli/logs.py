"""``drivetrain logs``: what an app's runners write."""

from __future__ import annotations

import json
import sys

import click

from drivetrain.cli.connection import platform_options, this_connection


@click.command(name="logs", short_help="Show what an app's runners write outside of predictions.")
@click.argument("name", metavar="OWNER/APP")
@click.option("-f", "--follow", "follows", is_flag=True, help="Go on showing what comes, until Ctrl-C.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    metavar="N",
    help="How many lines to begin with.",
)
@platform_options
def command(name: str, follows: bool, lines: int, platform_url: str | None, as_json: bool) -> int:
    """Show what an app's runners write outside of predictions: set-up above all. Each line begins with its time and its runner.

    What a prediction writes is in its own log: "drivetrain predictions get ID".
    """
    connection = this_connection(platform_url)
    from drivetrain.cli.deploy import full_name
    from drivetrain.cli.platform_client import PlatformClient

    with PlatformClient(connection) as client:
        path = f"/apps/{full_name(client, name)}/logs"
        with client.lines("GET", path, follow=True if follows else None, lines=lines) as found:
            for line in found:
                sys.stdout.write((_as_json(line) if as_json else line) + "\n")
                sys.stdout.flush()
    return 0


def _as_json(line: str) -> str:
    at, _, rest = line.partition(" ")
    runner, _, text = rest.partition(" ")
    return json.dumps({"at": at, "runner": runner, "text": text}, ensure_ascii=False)
