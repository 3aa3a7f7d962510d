"""``drivetrain apps``: what is deployed."""

from __future__ import annotations

from typing import Any

import click

from drivetrain.cli.connection import platform_options, this_connection


@click.command(name="apps", short_help="List the apps of a platform.")
@click.argument("name", required=False, metavar="[OWNER/APP]")
@platform_options
def command(name: str | None, platform_url: str | None, as_json: bool) -> int:
    """List the apps of a platform; with a name, show that app's settings and revisions.

    \b
        drivetrain apps
        drivetrain apps me/hello
    """
    connection = this_connection(platform_url)
    from drivetrain.cli.deploy import full_name
    from drivetrain.cli.outputs import write_json
    from drivetrain.cli.platform_client import PlatformClient

    with PlatformClient(connection) as client:
        if name is None:
            found = client.get("/apps")["results"]
            write_json(found, indent=True) if as_json else _list(found)
            return 0
        name = full_name(client, name)
        app = client.get(f"/apps/{name}")
        revisions = client.get(f"/apps/{name}/revisions")["results"]
    if as_json:
        write_json({**app, "revisions": revisions}, indent=True)
    else:
        _show(app, revisions)
    return 0


def _list(apps: list[dict[str, Any]]) -> None:
    from drivetrain.cli.table import age, write_table

    rows = [
        (
            app["name"],
            _answering(app),
            app["access"],
            _runners(app),
            app.get("waiting"),
            app.get("running"),
            age(app["created_at"]),
        )
        for app in apps
    ]
    write_table(("APP", "REVISION", "ACCESS", "RUNNERS", "WAITING", "RUNNING", "AGE"), rows)


def _show(app: dict[str, Any], revisions: list[dict[str, Any]]) -> None:
    from drivetrain.cli.table import age, write_line, write_table

    write_line(f"{app['name']}  {app['url']}")
    if app.get("unplaced"):
        write_line(f"wants a runner and gets none: {app['unplaced']}")
    write_line("")
    settings = {"access": app["access"], **app["scaling"], **app["resources"]}
    write_table(("SETTING", "VALUE"), [(key, str(value) if value is not None else None) for key, value in settings.items()])
    write_line("")
    percents = {share["revision"]: f"{share['percent']} %" for share in app["alias"]}
    rows = [
        (each["number"], each["state"], percents.get(each["id"]), age(each["created_at"]), each["id"], each["failure"])
        for each in revisions
    ]
    write_table(("REVISION", "STATE", "ANSWERS", "AGE", "ID", "FAILURE"), rows)


def _answering(app: dict[str, Any]) -> str:
    return ", ".join(f"{share['number']}" + (f" ({share['percent']} %)" if len(app["alias"]) > 1 else "") for share in app["alias"])


def _runners(app: dict[str, Any]) -> str:
    if "runners" not in app:
        return ""
    counts = ", ".join(f"{count} {state}" for state, count in app["runners"].items()) or "0"
    return f"{counts}, wants more" if app.get("unplaced") else counts
