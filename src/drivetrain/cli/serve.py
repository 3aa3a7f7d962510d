"""``drivetrain serve``: a model behind Cog's HTTP API."""

from __future__ import annotations

from typing import Any

import click

from drivetrain.cli.image_words import ImageFlags, image_among, image_options
from drivetrain.cli.options import container_options, project_options
from drivetrain.cli.serve_line import ServeLine
from drivetrain.cli.terminal import Terminal
from drivetrain.model.project import Mode

_SECONDS = click.FloatRange(min=0, min_open=True)


@click.command(name="serve", short_help="Serve predictions over HTTP.")
@click.argument("words", nargs=-1, metavar="[IMAGE]")
@click.option(
    "-p",
    "--port",
    type=click.IntRange(0, 65535),
    default=8393,
    show_default=True,
    metavar="PORT",
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on; 0.0.0.0 is every one of this machine's.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    metavar="N",
    help="How many processes hold the model, each on a GPU of its own where there are several.",
)
@click.option(
    "--queue",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="How many predictions may wait for a free slot before others are refused.",
)
@click.option(
    "--snapshot",
    type=click.Choice(["auto", "off", "imports", "after-setup"]),
    metavar="WHAT",
    help="What is done once for all workers, which are then forked: off, imports, after-setup, or auto: imports, where there are "
    "several workers or --reload. [default: $DRIVETRAIN_SNAPSHOT, else auto]",
)
@click.option("--reload", "reloads", is_flag=True, help="Restart the worker when a source file changes.")
@click.option("--setup-timeout", type=_SECONDS, metavar="SECONDS", help="How long set-up may take. [default: no limit]")
@click.option("--prediction-timeout", type=_SECONDS, metavar="SECONDS", help="How long a prediction may run. [default: no limit]")
@click.option(
    "--cancel-grace",
    type=click.FloatRange(min=0),
    default=10,
    show_default=True,
    metavar="SECONDS",
    help="How long a prediction may take to obey its cancelation before its worker is replaced.",
)
@click.option(
    "--max-predictions",
    type=click.IntRange(1),
    metavar="N",
    help="How many predictions a worker runs before a fresh one replaces it. [default: no limit]",
)
@click.option(
    "--upload-url",
    metavar="URL",
    help="Where output files are uploaded to, instead of being put into answers; {id} in it is the prediction's id.",
)
@click.option(
    "--allow-private-addresses", "allow_private", is_flag=True, help="Let URLs in requests lead to private and local addresses."
)
@click.option("--cors-origin", metavar="ORIGIN", help="Origin of web pages that may call the API; * is every one.")
@click.option(
    "--max-body-size",
    "body_megabytes",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    metavar="MB",
    help="Largest body that a request may have.",
)
@click.option("--stream-marked-only", is_flag=True, help="Stream only what the author marked with @streaming, as Cog does.")
@click.option(
    "--x-mode",
    "mode",
    type=click.Choice([mode.value for mode in Mode]),
    default="predict",
    show_default=True,
    help="Which of the two entry points to serve.",
)
@click.option(
    "--await-explicit-shutdown",
    "ignores_sigterm",
    is_flag=False,
    flag_value=True,
    default=False,
    type=bool,
    metavar="[BOOLEAN]",
    help="End only by POST /shutdown, not by SIGTERM.",
)
@click.option("--threads", type=int, hidden=True, help="Accepted for Cog's server module and ignored.")
@project_options
@container_options
@image_options
@click.pass_obj
def command(
    terminal: Terminal,
    /,
    words: tuple[str, ...],
    engine: str,
    gpus: str | None,
    platform: str | None,
    threads: int | None,
    **said: Any,
) -> int:
    """Serve the project in this directory, or an image, over HTTP.

    The first Ctrl-C lets predictions that run finish, a second one does not wait for them.

    \b
        drivetrain serve
        curl -s localhost:8393/predictions -H 'Content-Type: application/json' -d '{"input": {"prompt": "a horse"}}'
        drivetrain serve registry.example.com/team/model
    """
    flags = ImageFlags(engine=engine, gpus=gpus, platform=platform)
    if (image := image_among(words, flags, terminal, command="serve")) is not None:
        from drivetrain.cli.image_running import serve_image

        return serve_image(image, flags, click.get_current_context(), terminal)
    from drivetrain.cli.starting import start

    return start(ServeLine(**said), terminal)
