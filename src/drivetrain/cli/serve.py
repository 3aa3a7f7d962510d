"""``drivetrain serve``: a model behind Cog's HTTP API."""

from __future__ import annotations

from datetime import timedelta

import click

from drivetrain.cli.opening import Opening, open_project
from drivetrain.cli.options import container_options, project_options
from drivetrain.cli.terminal import Terminal
from drivetrain.model.project import Mode
from drivetrain.serving.launch import launch


@click.command(name="serve", short_help="Serve predictions over HTTP.")
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
@click.option("--reload", "reloads", is_flag=True, help="Restart the worker when a source file changes.")
@click.option(
    "--setup-timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="How long set-up may take. [default: no limit]",
)
@project_options
@container_options
@click.pass_obj
def command(
    terminal: Terminal,
    port: int,
    host: str,
    reloads: bool,
    setup_timeout: float | None,
    config_name: str | None,
    variables: tuple[str, ...],
    realisation: str,
) -> int:
    """Serve the project in this directory over HTTP, as a Cog image would.

    The first Ctrl-C lets predictions that run finish, a second one does not wait for them.

    \b
        drivetrain serve
        curl -s localhost:8393/predictions -H 'Content-Type: application/json' -d '{"input": {"prompt": "a horse"}}'
    """
    from drivetrain.serving.http.listening import bind

    opening = open_project(terminal, config_name=config_name, realisation=realisation, variables=variables)
    opening.entry_point(Mode.PREDICT)
    listener = bind(host, port)  # before anything is made or started: a port in use is found at once
    with listener:
        worker_command = opening.command(opening.environment(terminal), Mode.PREDICT)
        launched = launch(worker_command)  # the model loads while we import the server
        from drivetrain.cli.serving import ServeOptions, serve

        options = ServeOptions(
            concurrency=_concurrency(opening),
            reloads=reloads,
            setup_timeout=timedelta(seconds=setup_timeout) if setup_timeout is not None else None,
        )
        return serve(worker_command, launched, listener, options, terminal)


def _concurrency(opening: Opening) -> int | None:
    """Cog's order: the variable at run time, then the config; ``None`` leaves it to the code."""
    text = opening.variables.get("COG_MAX_CONCURRENCY") or opening.settings.environ.get("COG_MAX_CONCURRENCY", "")
    if text.isdigit() and int(text) > 0:
        return int(text)
    return opening.project.concurrency
