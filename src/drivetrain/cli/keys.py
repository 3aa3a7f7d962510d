"""``drivetrain keys``: who may use a platform."""

from __future__ import annotations

import click

from drivetrain.cli.connection import list_by_default, platform_options, this_connection
from drivetrain.cli.terminal import Terminal


@click.group(name="keys", short_help="Make and revoke API keys of a platform.", invoke_without_command=True)
@platform_options
@click.pass_context
def command(ctx: click.Context, platform_url: str | None, as_json: bool) -> None:
    """Make and revoke API keys of a platform.

    \b
        drivetrain keys add --scope call --owner alice --name laptop
        drivetrain keys list
        drivetrain keys revoke ID
    """
    list_by_default(ctx, list_, platform_url=platform_url, as_json=as_json)


@command.command(name="add", short_help="Make an API key.")
@click.option(
    "--scope",
    type=click.Choice(["call", "deploy", "admin"]),
    default="call",
    show_default=True,
    help="call: run predictions. deploy: also deploy, scale, keep secrets. admin: everything, for every owner.",
)
@click.option("--owner", metavar="OWNER", help="Whose apps it is for. [default: that of your key]")
@click.option("--name", default="", metavar="TEXT", help="To tell it from others in lists.")
@click.option(
    "--expires-in", type=click.FloatRange(min=0, min_open=True), metavar="DAYS", help="For how long it is good. [default: for ever]"
)
@click.option("--requests-per-minute", type=click.IntRange(1), metavar="N", help="Most predictions in a minute.")
@click.option("--concurrency", type=click.IntRange(1), metavar="N", help="Most predictions under way.")
@platform_options
@click.pass_obj
def add(
    terminal: Terminal,
    scope: str,
    owner: str | None,
    name: str,
    expires_in: float | None,
    requests_per_minute: int | None,
    concurrency: int | None,
    platform_url: str | None,
    as_json: bool,
) -> int:
    """Make an API key and print it. It is not kept and cannot be shown again."""
    connection = this_connection(platform_url)
    from drivetrain.cli.outputs import write_json
    from drivetrain.cli.platform_client import PlatformClient

    body = {
        "scope": scope,
        "owner": owner,
        "name": name,
        "expires_in": expires_in * 86400 if expires_in is not None else None,
        "requests_per_minute": requests_per_minute,
        "concurrency": concurrency,
    }
    with PlatformClient(connection) as client:
        key = client.post("/keys", body)
    if as_json:
        write_json(key, indent=True)
        return 0
    click.echo(key["key"])
    terminal.note(f"Key {key['id']} of scope '{key['scope']}' for '{key['owner']}'; this is the only time that it is shown")
    return 0


@command.command(name="list", short_help="List API keys.")
@platform_options
def list_(platform_url: str | None = None, as_json: bool = False) -> int:
    """List the API keys that yours may handle, without the keys themselves."""
    connection = this_connection(platform_url)
    from drivetrain.cli.outputs import write_json
    from drivetrain.cli.platform_client import PlatformClient
    from drivetrain.cli.table import age, write_table

    with PlatformClient(connection) as client:
        found = client.get("/keys")["results"]
    if as_json:
        write_json(found, indent=True)
        return 0
    rows = [
        (each["id"], each["owner"], each["scope"], f"…{each['hint']}", each["name"], age(each["created_at"]), each["expires_at"])
        for each in found
    ]
    write_table(("KEY", "OWNER", "SCOPE", "ENDS IN", "NAME", "AGE", "EXPIRES"), rows)
    return 0


@command.command(name="revoke", short_help="Make an API key worthless.")
@click.argument("key_id", metavar="ID")
@platform_options
@click.pass_obj
def revoke(terminal: Terminal, key_id: str, platform_url: str | None, as_json: bool) -> int:
    """Make an API key worthless, at once."""
    connection = this_connection(platform_url)
    from drivetrain.cli.outputs import write_json
    from drivetrain.cli.platform_client import PlatformClient

    with PlatformClient(connection) as client:
        client.delete(f"/keys/{key_id}")
    if as_json:
        write_json({"revoked": key_id}, indent=True)
    else:
        terminal.note(f"Revoked {key_id}")
    return 0
