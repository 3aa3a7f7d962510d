"""``drivetrain serve``: a model behind Cog's HTTP API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drivetrain.cli.image_words import ImageFlags, image_among, image_options
from drivetrain.cli.opening import Opening, open_project
from drivetrain.cli.options import container_options, project_options
from drivetrain.cli.terminal import Terminal
from drivetrain.model.project import Mode
from drivetrain.serving.launch import WorkerCommand, launch
from drivetrain.serving.template_snapshot import Snapshot, chosen_snapshot

if TYPE_CHECKING:
    from drivetrain.serving.webhooks import WebhookOptions

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
    words: tuple[str, ...],
    port: int,
    host: str,
    workers: int,
    queue: int,
    snapshot: str | None,
    reloads: bool,
    setup_timeout: float | None,
    prediction_timeout: float | None,
    cancel_grace: float,
    max_predictions: int | None,
    upload_url: str | None,
    allow_private: bool,
    cors_origin: str | None,
    body_megabytes: int,
    stream_marked_only: bool,
    mode: str,
    ignores_sigterm: bool,
    threads: int | None,
    config_name: str | None,
    variables: tuple[str, ...],
    realisation: str,
    engine: str,
    gpus: str | None,
    platform: str | None,
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
    from drivetrain.serving.http.listening import bind

    opening = open_project(terminal, config_name=config_name, realisation=realisation, variables=variables)
    opening.entry_point(Mode(mode))
    listener = bind(host, port)  # before anything is made or started: a port in use is found at once
    with listener:
        worker_command = opening.command(opening.environment(terminal), Mode(mode))
        environ = {**opening.settings.environ, **opening.project.environment.variables, **opening.variables}
        wanted = chosen_snapshot(snapshot, environ, pays=workers > 1 or reloads)
        records = opening.settings.cache_directory / "imports"
        # With several workers even the first may need variables of its own, which the supervisor knows.
        is_alone = workers == 1 and not _has_template(wanted, records, worker_command)
        launched = launch(worker_command) if is_alone else None  # the model loads while we import the server
        from drivetrain.cli.serving import ServeOptions, TerminalAudience, serve
        from drivetrain.serving.devices import available_devices
        from drivetrain.serving.http.application import HttpOptions
        from drivetrain.serving.outgoing import Reach
        from drivetrain.serving.server import ServerOptions
        from drivetrain.serving.supervisor import SupervisorOptions

        options = ServeOptions(
            supervisor=SupervisorOptions(
                workers=workers,
                concurrency=_concurrency(opening),
                setup_timeout=_duration(setup_timeout),
                prediction_timeout=_duration(prediction_timeout),
                cancel_grace=timedelta(seconds=cancel_grace),
                predictions_per_worker=max_predictions,
                devices=available_devices(environ) if workers > 1 else (),
            ),
            server=ServerOptions(queue=queue, history=_number(environ, "COG_STREAM_HISTORY_CAPACITY", 1024)),
            http=HttpOptions(
                body_limit=body_megabytes * 1024 * 1024,
                upload_url=upload_url,
                streams_everything=not stream_marked_only,
                cors_origin=cors_origin,
            ),
            webhooks=_webhook_options(environ),
            reach=Reach(allow_private=allow_private),
            reloads=reloads,
            ignores_sigterm=ignores_sigterm,
            snapshot=wanted,
            records=records,
            traced_as=opening.project.root.name if opening.settings.wants_traces else None,
        )
        logs_json = not terminal.is_interactive and environ.get("LOG_FORMAT") != "console"
        return serve(worker_command, launched, listener, options, terminal, TerminalAudience(terminal, logs_json=logs_json))


def _has_template(snapshot: Snapshot, records: Path, command: WorkerCommand) -> bool:
    """Whether the first worker may come from a template."""
    if snapshot is not Snapshot.IMPORTS:
        return snapshot is Snapshot.AFTER_SETUP
    from drivetrain.environments.template import TemplateNotes

    return TemplateNotes(records, command.project, command.mode, command.environment).read() is not None


def _duration(seconds: float | None) -> timedelta | None:
    return timedelta(seconds=seconds) if seconds is not None else None


def _webhook_options(environ: Mapping[str, str]) -> WebhookOptions:
    from drivetrain.serving.webhooks import WebhookOptions

    seconds = _fraction(environ, "COG_THROTTLE_RESPONSE_INTERVAL", 0.5)
    return WebhookOptions(interval=timedelta(seconds=seconds), token=environ.get("WEBHOOK_AUTH_TOKEN"))


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "")
    return int(text) if text.isdigit() else default


def _fraction(environ: Mapping[str, str], name: str, default: float) -> float:
    try:
        return max(0.0, float(environ[name]))
    except (KeyError, ValueError):
        return default


def _concurrency(opening: Opening) -> int | None:
    """Cog's order: the variable at run time, then the config; ``None`` leaves it to the code."""
    text = opening.variables.get("COG_MAX_CONCURRENCY") or opening.settings.environ.get("COG_MAX_CONCURRENCY", "")
    if text.isdigit() and int(text) > 0:
        return int(text)
    return opening.project.concurrency
