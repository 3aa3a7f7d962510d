"""``drivetrain deploy``: a project onto a platform."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from drivetrain.cli.connection import platform_options, this_connection
from drivetrain.cli.terminal import Terminal

if TYPE_CHECKING:
    from drivetrain.cli.packing import PackedProject

Command = TypeVar("Command", bound=Callable[..., Any])

_STEPS = {
    "receiving": None,
    "reading": "Reading the project",
    "building": "Building its environment",
    "proving": "Starting it once, to see that set-up works",
    "switching": "Letting it answer",
}


def scaling_options(command: Command) -> Command:
    """``--min``, ``--max`` and the like: how many runners an app may have, and when."""
    seconds = click.FloatRange(min=0)
    for option in reversed(
        (
            click.option("--min", "min_runners", type=click.IntRange(0), metavar="N", help="Runners kept without requests."),
            click.option("--max", "max_runners", type=click.IntRange(0), metavar="N", help="Runners never exceeded."),
            click.option("--keep-alive", type=seconds, metavar="SECONDS", help="How long a runner stays without a request."),
            click.option("--concurrency", type=click.IntRange(1), metavar="N", help="Predictions at once in a runner."),
            click.option("--buffer", type=click.IntRange(0), metavar="N", help="Runners' worth of requests kept free on top."),
            click.option("--buffer-percent", type=click.IntRange(0), metavar="N", help="The same as a share of the load."),
            click.option(
                "--scaling-delay",
                type=seconds,
                metavar="SECONDS",
                help="How long a request waits before it counts for another runner.",
            ),
            click.option("--startup-timeout", type=seconds, metavar="SECONDS", help="How long a runner may take to become ready."),
            click.option("--request-timeout", type=seconds, metavar="SECONDS", help="How long a prediction may run."),
            click.option(
                "--start-timeout", type=seconds, metavar="SECONDS", help="How long a prediction may wait until it starts."
            ),
            click.option(
                "--scaler",
                type=click.Choice(["concurrency", "queue_delay", "request_count"]),
                help="What makes it want more runners.",
            ),
            click.option(
                "--scaler-value",
                type=click.FloatRange(min=0, min_open=True),
                metavar="N",
                help="Seconds or requests, for the scaler.",
            ),
            click.option("--queue-limit", type=click.IntRange(0), metavar="N", help="Predictions that may wait."),
            click.option("--max-attempts", type=click.IntRange(1), metavar="N", help="How often a prediction may be begun."),
        )
    ):
        command = option(command)
    return command


def resource_options(command: Command) -> Command:
    """``--gpus``, ``--memory``, ``--cpus`` and ``--access``."""
    for option in reversed(
        (
            click.option("--gpus", type=click.IntRange(0), metavar="N", help="GPUs that each runner holds."),
            click.option(
                "--memory", type=click.FloatRange(min=0, min_open=True), metavar="GB", help="Memory that each runner holds."
            ),
            click.option("--cpus", type=click.FloatRange(min=0), metavar="N", help="Cores that each runner holds."),
            click.option(
                "--access",
                type=click.Choice(["private", "shared", "public"]),
                help="Who may call it: its owner's keys, every key, or anybody.",
            ),
        )
    ):
        command = option(command)
    return command


def given(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that were given."""
    return {name: value for name, value in settings.items() if value is not None}


def memory_bytes(gigabytes: float | None) -> int | None:
    """What ``--memory`` says, in bytes."""
    return int(gigabytes * 1024**3) if gigabytes is not None else None


@click.command(name="deploy", short_help="Deploy a project to a platform.")
@click.argument("directory", required=False, metavar="[PATH]", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-n", "--name", required=True, metavar="OWNER/APP", help="The app. Without an owner, it is yours.")
@click.option(
    "--strategy",
    type=click.Choice(["rolling", "recreate"]),
    help="rolling: the new revision takes over once it is ready. recreate: the old runners end first. [default: rolling]",
)
@click.option("--strict", is_flag=True, help="Refuse a revision that breaks the clients of the one before.")
@click.option("-m", "--message", metavar="TEXT", help="Kept with the revision.")
@scaling_options
@resource_options
@platform_options
@click.pass_obj
def command(
    terminal: Terminal,
    /,
    directory: Path | None,
    name: str,
    strategy: str | None,
    strict: bool,
    message: str | None,
    gpus: int | None,
    memory: float | None,
    cpus: float | None,
    access: str | None,
    platform_url: str | None,
    as_json: bool,
    **scaling: Any,
) -> int:
    """Deploy the project in this directory, or in PATH, to a platform that "drivetrain up" started.

    The platform builds its environment, starts it once to see that set-up works, and then lets it answer. What was
    deployed before goes on answering until then, and for good if something goes wrong.

    \b
        drivetrain deploy --name me/hello
        drivetrain deploy ./model --name me/hello --max 4 --keep-alive 300
    """
    connection = this_connection(platform_url)
    from drivetrain.cli.packing import pack
    from drivetrain.cli.platform_client import PlatformClient
    from drivetrain.dialects.cog.discovery import load_project

    # Its errors are told before anything is sent; its warnings are told by the platform.
    packed = pack(load_project((directory or Path.cwd()).absolute(), None).project)
    for finding in packed.left_out:
        terminal.finding(finding)
    query = given(
        {"strategy": strategy, "strict": strict or None, "message": message, "access": access, "gpus": gpus, "cpus": cpus}
        | {"memory": memory_bytes(memory)}
        | scaling
    )
    with PlatformClient(connection) as client:
        app = full_name(client, name)
        terminal.note(f"Sending {len(packed.entries)} files, {_size(packed.size)}")
        with client.lines("PUT", f"/apps/{app}/source", _chunks(packed), **query) as lines:
            deployed = _follow(lines, terminal, as_json=as_json)
    if as_json:
        return 0
    _tell(deployed, connection.url, terminal)
    return 0


def full_name(client: Any, name: str) -> str:
    """``owner/app``; without an owner, that of the key."""
    return name if "/" in name else f"{client.get('/me')['owner']}/{name}"


def _chunks(packed: PackedProject) -> Iterator[bytes]:
    yield from packed.chunks()


def _follow(lines: Iterator[str], terminal: Terminal, *, as_json: bool) -> dict[str, Any]:
    """Tell what happens; how it ended.

    Raises:
        DrivetrainError: It failed.
    """
    from drivetrain.cli.platform_client import PlatformFailed, error_of

    for line in lines:
        if not line.strip():
            continue
        event = json.loads(line)
        if as_json:
            click.echo(line)
        match event["event"]:
            case "step" if (text := _STEPS.get(event["step"])) and not as_json:
                terminal.note(text)
            case "log" if not as_json:
                terminal.text(event["text"])
            case "notice" if not as_json:
                remedy = f"; {event['remedy']}" if event.get("remedy") else ""
                (terminal.warn if event["severity"] == "warning" else terminal.note)(event["message"] + remedy)
            case "error":
                raise error_of(event["error"])
            case "deployed":
                return dict(event)
    raise PlatformFailed("the platform broke off the deployment", hint="its log says why; what was deployed before still answers")


def _tell(deployed: dict[str, Any], url: str, terminal: Terminal) -> None:
    from drivetrain.cli.example_call import example_calls

    app, revision = deployed["app"], deployed["revision"]
    seconds = sum(deployed["seconds"].values())
    what = "Deployed" if deployed["is_new"] else "Switched to what was deployed before:"
    terminal.note(f"{what} {app['name']}, revision {revision['number']}, in {seconds:.1f} s")
    click.echo(app["url"])
    click.echo()
    for text in example_calls(app["name"], revision.get("signature"), url):
        click.echo(text)


def _size(size: float) -> str:
    for unit in ("bytes", "KB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
