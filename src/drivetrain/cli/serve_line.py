"""What the command line says about serving the project in this directory."""

from __future__ import annotations

import msgspec


class ServeLine(msgspec.Struct, frozen=True, kw_only=True):
    """Names and defaults are those of ``drivetrain.cli.serve``."""

    port: int = 8393
    host: str = "127.0.0.1"
    workers: int = 1
    queue: int = 0
    snapshot: str | None = None
    reloads: bool = False
    setup_timeout: float | None = None
    prediction_timeout: float | None = None
    cancel_grace: float = 10
    max_predictions: int | None = None
    upload_url: str | None = None
    allow_private: bool = False
    cors_origin: str | None = None
    body_megabytes: int = 100
    stream_marked_only: bool = False
    mode: str = "predict"
    ignores_sigterm: bool = False
    config_name: str | None = None
    variables: tuple[str, ...] = ()
    realisation: str = "venv"
