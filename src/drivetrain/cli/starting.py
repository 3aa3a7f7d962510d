"""Start serving a project: what ``drivetrain serve`` does once the command line has been read.

The order is what makes it fast: the worker is started as soon as it is known what to start, and told what to load; what serves is
imported while it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from drivetrain.cli.opening import Opening, open_project
from drivetrain.cli.serve_line import ServeLine
from drivetrain.cli.terminal import Terminal
from drivetrain.model.project import Mode
from drivetrain.serving.http.listening import bind
from drivetrain.serving.launch import LaunchedWorker, WorkerCommand, begin_loading, launch, process_command
from drivetrain.serving.template_snapshot import Snapshot, chosen_snapshot

if TYPE_CHECKING:
    from drivetrain.cli.early_start import EarlyStart
    from drivetrain.cli.serving import ServeOptions
    from drivetrain.serving.webhooks import WebhookOptions


def start(line: ServeLine, terminal: Terminal, early: EarlyStart | None = None) -> int:
    """Serve the project in the working directory until told to stop; the exit status.

    Args:
        line: How to serve it.
        terminal: Where to tell of it.
        early: A worker that may be under way already. It is taken or ended.

    Raises:
        DrivetrainError: It cannot be served as asked.
    """
    opening = open_project(terminal, config_name=line.config_name, realisation=line.realisation, variables=line.variables)
    mode = Mode(line.mode)
    opening.entry_point(mode)
    with bind(line.host, line.port) as listener:  # before anything is made or started: a port in use is found at once
        command = opening.command(opening.environment(terminal), mode)
        environ = {**opening.settings.environ, **opening.project.environment.variables, **opening.variables}
        snapshot = chosen_snapshot(line.snapshot, environ, pays=line.workers > 1 or line.reloads)
        records = opening.settings.cache_directory / "imports"
        launched = _launch(line, command, snapshot, records, early)  # the model loads while we import the server
        if early is not None:
            early.close()
        from drivetrain.cli.serving import TerminalAudience, serve

        options = _options(line, opening, environ, snapshot, records)
        logs_json = not terminal.is_interactive and environ.get("LOG_FORMAT") != "console"
        return serve(command, launched, listener, options, terminal, TerminalAudience(terminal, logs_json=logs_json))


def _launch(
    line: ServeLine, command: WorkerCommand, snapshot: Snapshot, records: Path, early: EarlyStart | None
) -> LaunchedWorker | None:
    """The first worker, where it is known already how it is started.

    With several workers even the first may need variables of its own, which the supervisor knows; with a template it may be forked,
    and is asked to report what it imports.
    """
    if line.workers > 1 or _has_template(snapshot, records, command):
        return None
    if snapshot is not Snapshot.OFF:
        return launch(command)
    worker = early.take(process_command(command)) if early is not None else None
    if worker is None:
        return begin_loading(launch(command), command)
    launched = LaunchedWorker(process=worker.process, connection=worker.connection, log=worker.log, family=worker.family)
    return begin_loading(launched, command)


def _has_template(snapshot: Snapshot, records: Path, command: WorkerCommand) -> bool:
    """Whether the first worker may come from a template."""
    if snapshot is not Snapshot.IMPORTS:
        return snapshot is Snapshot.AFTER_SETUP
    from drivetrain.environments.template import TemplateNotes

    return TemplateNotes(records, command.project, command.mode, command.environment).read() is not None


def _options(line: ServeLine, opening: Opening, environ: Mapping[str, str], snapshot: Snapshot, records: Path) -> ServeOptions:
    from drivetrain.cli.serving import ServeOptions
    from drivetrain.serving.devices import available_devices
    from drivetrain.serving.http.application import HttpOptions
    from drivetrain.serving.outgoing import Reach
    from drivetrain.serving.server import ServerOptions
    from drivetrain.serving.supervisor import SupervisorOptions

    return ServeOptions(
        supervisor=SupervisorOptions(
            workers=line.workers,
            concurrency=_concurrency(opening),
            setup_timeout=_duration(line.setup_timeout),
            prediction_timeout=_duration(line.prediction_timeout),
            cancel_grace=timedelta(seconds=line.cancel_grace),
            predictions_per_worker=line.max_predictions,
            devices=available_devices(environ) if line.workers > 1 else (),
        ),
        server=ServerOptions(
            queue=line.queue,
            history=_number(environ, "COG_STREAM_HISTORY_CAPACITY", 1024),
            temporary=opening.settings.temporary_directory,
        ),
        http=HttpOptions(
            body_limit=line.body_megabytes * 1024 * 1024,
            upload_url=line.upload_url,
            streams_everything=not line.stream_marked_only,
            cors_origin=line.cors_origin,
        ),
        webhooks=_webhook_options(environ),
        reach=Reach(allow_private=line.allow_private),
        reloads=line.reloads,
        ignores_sigterm=line.ignores_sigterm,
        snapshot=snapshot,
        records=records,
        traced_as=opening.project.root.name if opening.settings.wants_traces else None,
    )


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
