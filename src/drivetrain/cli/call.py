"""``drivetrain call``: one prediction of an app on a platform."""

from __future__ import annotations

import click

from drivetrain.cli.connection import this_connection
from drivetrain.cli.options import BARE_JSON, input_option, json_option
from drivetrain.cli.target import target_path
from drivetrain.cli.terminal import Terminal
from drivetrain.model.errors import Misuse


@click.command(name="call", short_help="Run a prediction of an app on a platform.")
@click.argument("name", metavar="OWNER/APP")
@input_option
@json_option
@click.option(
    "-o", "--output", "target", metavar="PATH", help="Where the output goes. [default: files to output.<type>, the rest to stdout]"
)
@click.option("--async", "is_async", is_flag=True, help="Print the prediction's id, and do not wait for it.")
@click.option("--revision", metavar="ID", help="A revision other than the one that answers.")
@click.option("--train", "trains", is_flag=True, help="Run the app's training instead.")
@click.option("--low-priority", is_flag=True, help="Let all others of the app go first.")
@click.option(
    "--platform", "platform_url", metavar="URL", help="The platform to ask. [default: the one started last by this user here]"
)
@click.pass_obj
def command(
    terminal: Terminal,
    name: str,
    texts: tuple[str, ...],
    json_source: str | None,
    target: str | None,
    is_async: bool,
    revision: str | None,
    trains: bool,
    low_priority: bool,
    platform_url: str | None,
) -> int:
    """Run a prediction of an app on a platform, as "drivetrain run" does for a project.

    Files among the inputs are uploaded, output files are downloaded. Ctrl-C cancels the prediction.

    \b
        drivetrain call me/hello -i text="a horse"
        drivetrain call me/sketch -i image=@photo.jpg -o sketch.png
        drivetrain call me/slow --async
    """
    path = target_path(target)
    if is_async and target is not None:
        raise Misuse(
            "--async does not wait for an output, so -o has no meaning", hint="'drivetrain predictions get' shows it later"
        )
    connection = this_connection(platform_url)
    from drivetrain.cli.calling import Call, Wish
    from drivetrain.cli.deploy import full_name
    from drivetrain.cli.inputs import read_json_inputs, split_inputs
    from drivetrain.cli.platform_client import PlatformClient
    from drivetrain.cli.prediction import Inputs
    from drivetrain.model.project import Mode

    values = read_json_inputs(json_source) if json_source not in (None, BARE_JSON) else {}
    wish = Wish(
        inputs=Inputs(split_inputs(texts), values),
        target=path,
        as_json=json_source is not None,
        mode=Mode.TRAIN if trains else Mode.PREDICT,
        revision=revision,
        priority="low" if low_priority else "normal",
    )
    with PlatformClient(connection) as client:
        call = Call(client, full_name(client, name), wish, terminal)
        if is_async:
            click.echo(call.submit()["id"])
            return 0
        return call.run()
