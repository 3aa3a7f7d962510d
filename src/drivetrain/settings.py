"""The only reader of the process environment. Everything else is handed a ``Settings``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from drivetrain.model.cache_place import cache_directory


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the process environment says, read once.

    Attributes:
        cache_directory: Where environments and other things that can be made again are kept. ``DRIVETRAIN_CACHE_DIR``, else
            ``$XDG_CACHE_HOME/drivetrain``, else ``~/.cache/drivetrain``.
        pyenv_root: Where pyenv keeps its interpreters. ``PYENV_ROOT``, else ``~/.pyenv``.
        uv: Path of the uv binary to use instead of the one drivetrain brings. ``DRIVETRAIN_UV``.
        state_directory: Where a platform that is started here keeps its state. ``DRIVETRAIN_STATE_DIR``, else
            ``$XDG_DATA_HOME/drivetrain``, else ``~/.local/share/drivetrain``.
        platform_url: The platform that the commands for platforms talk to. ``DRIVETRAIN_PLATFORM``, else the one that this user
            started last on this machine.
        api_key: The API key that they send. ``DRIVETRAIN_API_KEY``, else the one that was made when that platform was first
            started.
        connections_file: Where these two are noted when a platform is started.
        temporary_directory: Where files are that are gone when the process ends, if it is plain which directory that is.
        wants_traces: Whether spans are to be sent to a collector: OpenTelemetry's own variables name one, and do not switch it off.
        environ: The whole environment, for handing on to child processes.
    """

    cache_directory: Path
    pyenv_root: Path
    environ: Mapping[str, str]
    state_directory: Path
    connections_file: Path
    uv: Path | None = None
    platform_url: str | None = None
    api_key: str | None = None
    temporary_directory: str | None = None
    wants_traces: bool = False


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Build the settings from an environment mapping.

    Args:
        environ: Usually ``os.environ``.
    """
    home = Path(environ.get("HOME") or Path.home())
    data_home = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    config_home = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    uv = environ.get("DRIVETRAIN_UV")
    collector = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return Settings(
        cache_directory=Path(cache_directory(environ, str(home))),
        pyenv_root=Path(environ.get("PYENV_ROOT") or home / ".pyenv"),
        uv=Path(uv) if uv else None,
        temporary_directory=_temporary_directory(environ),
        wants_traces=bool(collector) and environ.get("OTEL_SDK_DISABLED", "").lower() != "true",
        environ=dict(environ),
        state_directory=Path(environ.get("DRIVETRAIN_STATE_DIR") or data_home / "drivetrain"),
        connections_file=config_home / "drivetrain" / "platform.json",
        platform_url=environ.get("DRIVETRAIN_PLATFORM") or None,
        api_key=environ.get("DRIVETRAIN_API_KEY") or None,
    )


def _temporary_directory(environ: Mapping[str, str]) -> str | None:
    """What ``tempfile`` would say, which takes milliseconds to import; ``None`` leaves it to say what is not plain."""
    named = (environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    directory = next(filter(None, named), "/tmp")  # noqa: S108 (the one that every system has)
    is_plain = os.path.isabs(directory) and os.path.isdir(directory) and os.access(directory, os.W_OK | os.X_OK)  # noqa: PTH112, PTH117
    return directory if is_plain else None
