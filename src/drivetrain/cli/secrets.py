"""``drivetrain secrets``: what runners get as environment variables and nobody is shown."""

from __future__ import annotations

import sys
from typing import Any

import click

from drivetrain.cli.connection import list_by_default, platform_options, this_connection
from drivetrain.cli.terminal import Terminal
from drivetrain.model.errors import Misuse

_APP = click.option("--app", "app", metavar="OWNER/APP", help="For this app only. [default: all of the owner's apps]")
_OWNER = click.option("--owner", metavar="OWNER", help="Whose. [default: that of the key]")


@click.group(name="secrets", short_help="Keep secrets for apps on a platform.", invoke_without_command=True)
@platform_options
@click.pass_context
def command(ctx: click.Context, platform_url: str | None, as_json: bool) -> None:
    """Keep secrets for apps on a platform: encrypted there, given to runners that start from now on as environment variables, shown
    to nobody.

    \b
        drivetrain secrets set HF_TOKEN < token.txt
        drivetrain secrets set API_KEY --app me/hello
        drivetrain secrets list

    Without a subcommand, list.
    """
    list_by_default(ctx, list_, platform_url=platform_url, as_json=as_json)


@command.command(name="set", short_help="Keep a secret.")
@click.argument("name", metavar="NAME")
@_APP
@_OWNER
@platform_options
@click.pass_obj
def set_(terminal: Terminal, name: str, app: str | None, owner: str | None, platform_url: str | None, as_json: bool) -> int:
    """Keep a secret. Its value is asked for, or read from standard input; never typed into the command, which others could read."""
    connection = this_connection(platform_url)
    from drivetrain.cli.outputs import write_json
    from drivetrain.cli.platform_client import PlatformClient

    if "=" in name:
        raise Misuse("a secret's value is not part of the command", hint=f"drivetrain secrets set {name.partition('=')[0]}")
    if sys.stdin.isatty():
        value = click.prompt(f"Value of {name}", hide_input=True, err=True)
    else:
        value = sys.stdin.read().removesuffix("\n")
    if not value:
        raise Misuse(f"the value of '{name}' is empty", hint="give it on standard input")
    with PlatformClient(connection) as client:
        client.put(_path(client, name, app, owner), {"value": value})
    if as_json:
        write_json({"name": name}, indent=True)
    else:
        terminal.note(f"Keeping {name}; runners that start from now on get it")
    return 0


@command.command(name="list", short_help="List secrets by their names.")
@_OWNER
@platform_options
def list_(owner: str | None = None, platform_url: str | None = None, as_json: bool = False) -> int:
    """List secrets by their names. Their values cannot be shown."""
    connection = this_connection(platform_url)
    from drivetrain.cli.outputs import write_json
    from drivetrain.cli.platform_client import PlatformClient
    from drivetrain.cli.table import age, write_table

    with PlatformClient(connection) as client:
        found = client.get("/secrets", owner=owner)["results"]
    if as_json:
        write_json(found, indent=True)
        return 0
    rows = [(each["name"], each["app"] or f"all of {each['owner']}", age(each["updated_at"])) for each in found]
    write_table(("SECRET", "FOR", "AGE"), rows)
    return 0


@command.command(name="rm", short_help="Forget a secret.")
@click.argument("name", metavar="NAME")
@_APP
@_OWNER
@platform_options
@click.pass_obj
def remove(terminal: Terminal, name: str, app: str | None, owner: str | None, platform_url: str | None, as_json: bool) -> int:
    """Forget a secret. Runners that have it keep it until they end."""
    connection = this_connection(platform_url)
    from drivetrain.cli.outputs import write_json
    from drivetrain.cli.platform_client import PlatformClient

    with PlatformClient(connection) as client:
        client.delete(_path(client, name, app, owner))
    if as_json:
        write_json({"removed": name}, indent=True)
    else:
        terminal.note(f"Removed {name}")
    return 0


def _path(client: Any, name: str, app: str | None, owner: str | None) -> str:
    if app is not None:
        from drivetrain.cli.deploy import full_name

        return f"/apps/{full_name(client, app)}/secrets/{name}"
    return f"/secrets/{owner or client.get('/me')['owner']}/{name}"
