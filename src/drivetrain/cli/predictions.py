"""``drivetrain predictions``: what was run, and what became of it."""

from __future__ import annotations

import sys
from typing import Any

import click

from drivetrain.cli.connection import list_by_default, platform_options, this_connection
from drivetrain.cli.terminal import Terminal


@click.group(name="predictions", short_help="List, show and cancel predictions on a platform.", invoke_without_command=True)
@platform_options
@click.pass_context
def command(ctx: click.Context, platform_url: str | None, as_json: bool) -> None:
    """List, show and cancel predictions on a platform, and see to their webhooks. Without a subcommand, list.

    \b
        drivetrain predictions list --app me/hello --status failed
        drivetrain predictions get ID
        drivetrain predictions cancel ID
        drivetrain predictions deliveries ID
    """
    list_by_default(ctx, list_, platform_url=platform_url, as_json=as_json)


@command.command(name="list", short_help="List predictions, newest first.")
@click.option("--app", "app", metavar="OWNER/APP", help="Of this app only.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(["starting", "processing", "succeeded", "failed", "canceled"]),
    help="In this state only. May be repeated.",
)
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, metavar="N", help="How many.")
@platform_options
def list_(
    app: str | None = None,
    statuses: tuple[str, ...] = (),
    limit: int = 20,
    platform_url: str | None = None,
    as_json: bool = False,
) -> int:
    """List predictions, newest first."""
    connection = this_connection(platform_url)
    from drivetrain.cli.deploy import full_name
    from drivetrain.cli.outputs import write_json
    from drivetrain.cli.platform_client import PlatformClient
    from drivetrain.cli.table import age, write_table

    with PlatformClient(connection) as client:
        name = full_name(client, app) if app is not None else None
        found = client.get("/predictions", app=name, status=list(statuses) or None, limit=limit)["results"]
    if as_json:
        write_json(found, indent=True)
        return 0
    rows = [
        (
            each["id"],
            each["app"],
            each["status"],
            each["predict_seconds"],
            age(each["created_at"]),
            (each["error"] or {}).get("message"),
        )
        for each in found
    ]
    write_table(("PREDICTION", "APP", "STATUS", "SECONDS", "AGE", "ERROR"), rows)
    return 0


@command.command(name="get", short_help="Show a prediction.")
@click.argument("prediction_id", metavar="ID")
@click.option("--wait", is_flag=True, help="Wait for its end.")
@platform_options
@click.pass_obj
def get(terminal: Terminal, prediction_id: str, wait: bool, platform_url: str | None, as_json: bool) -> int:
    """Show a prediction: its output on stdout, its logs and what else is known on stderr."""
    connection = this_connection(platform_url)
    from drivetrain.cli.outputs import write_json
    from drivetrain.cli.platform_client import PlatformClient

    with PlatformClient(connection) as client:
        path = f"/predictions/{prediction_id}"
        prediction = client.get(path, wait="" if wait else None)
        while wait and prediction["status"] in ("starting", "processing"):
            prediction = client.get(path, wait="")
    if as_json:
        write_json(prediction, indent=True)
    else:
        _show(prediction, terminal)
    return 1 if prediction["status"] in ("failed", "canceled") else 0


@command.command(name="cancel", short_help="Cancel predictions.")
@click.argument("prediction_ids", metavar="ID...", nargs=-1, required=True)
@platform_options
@click.pass_obj
def cancel(terminal: Terminal, prediction_ids: tuple[str, ...], platform_url: str | None, as_json: bool) -> int:
    """Cancel predictions, whether they wait or run. What has ended stays as it is."""
    connection = this_connection(platform_url)
    from drivetrain.cli.outputs import write_json
    from drivetrain.cli.platform_client import PlatformClient

    with PlatformClient(connection) as client:
        for prediction_id in prediction_ids:
            prediction = client.post(f"/predictions/{prediction_id}/cancel")
            if as_json:
                write_json(prediction, indent=False)
            elif prediction["status"] in ("starting", "processing"):
                terminal.note(f"{prediction_id} is told to end")
            else:
                terminal.note(f"{prediction_id} {prediction['status']}")
    return 0


@command.command(name="deliveries", short_help="List webhook deliveries.")
@click.argument("prediction_id", metavar="[ID]", required=False)
@click.option("--state", type=click.Choice(["pending", "delivered", "failed"]), help="In this state only.")
@platform_options
def deliveries(prediction_id: str | None, state: str | None, platform_url: str | None, as_json: bool) -> int:
    """List the webhook deliveries of a prediction; without one, of all, which needs an administrator's key."""
    connection = this_connection(platform_url)
    from drivetrain.cli.outputs import write_json
    from drivetrain.cli.platform_client import PlatformClient
    from drivetrain.cli.table import age, write_table

    path = f"/predictions/{prediction_id}/deliveries" if prediction_id is not None else "/deliveries"
    with PlatformClient(connection) as client:
        found = client.get(path, state=state)["results"]
    if as_json:
        write_json(found, indent=True)
        return 0
    rows = [
        (
            each["id"],
            each["prediction"],
            each["event"],
            each["state"],
            each["attempts"],
            age(each["created_at"]),
            each["answer"],
            each["url"],
        )
        for each in found
    ]
    write_table(("DELIVERY", "PREDICTION", "EVENT", "STATE", "ATTEMPTS", "AGE", "ANSWER", "URL"), rows)
    return 0


@command.command(name="resend", short_help="Send webhooks again.")
@click.argument("delivery_ids", metavar="DELIVERY...", nargs=-1, required=True)
@platform_options
@click.pass_obj
def resend(terminal: Terminal, delivery_ids: tuple[str, ...], platform_url: str | None, as_json: bool) -> int:
    """Send webhooks again, now."""
    connection = this_connection(platform_url)
    from drivetrain.cli.outputs import write_json
    from drivetrain.cli.platform_client import PlatformClient

    with PlatformClient(connection) as client:
        for delivery_id in delivery_ids:
            delivery = client.post(f"/deliveries/{delivery_id}/resend")
            if as_json:
                write_json(delivery, indent=False)
            else:
                terminal.note(f"{delivery_id} is sent again to {delivery['url']}")
    return 0


def _show(prediction: dict[str, Any], terminal: Terminal) -> None:
    from drivetrain.cli.outputs import write_json

    for sentence in prediction["history"]:
        terminal.quiet(sentence)
    if prediction["logs"]:
        terminal.text(prediction["logs"] if prediction["logs"].endswith("\n") else prediction["logs"] + "\n")
    waiting = f", {prediction['queue_position']} before it" if "queue_position" in prediction else ""
    took = f" in {prediction['predict_seconds']:.3f} s" if prediction["predict_seconds"] is not None else ""
    terminal.note(f"{prediction['app']} {prediction['id']} {prediction['status']}{took}{waiting}")
    if prediction["error"] is not None:
        terminal.error(prediction["error"]["message"])
    output = prediction["output"]
    if isinstance(output, str):
        sys.stdout.write(output + "\n")
    elif output is not None:
        write_json(output, indent=True)
