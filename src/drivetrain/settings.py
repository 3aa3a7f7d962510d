"""The only reader of the process environment. Everything else is handed a ``Settings``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the process environment says, read once.

    Attributes:
        cache_directory: Where environments and other things that can be made again are kept. ``DRIVETRAIN_CACHE_DIR``, else
            ``$XDG_CACHE_HOME/drivetrain``, else ``~/.cache/drivetrain``.
        pyenv_root: Where pyenv keeps its interpreters. ``PYENV_ROOT``, else ``~/.pyenv``.
        uv: Path of the uv binary to use instead of the one drivetrain brings. ``DRIVETRAIN_UV``.
        environ: The whole environment, for handing on to child processes.
    """

    cache_directory: Path
    pyenv_root: Path
    environ: Mapping[str, str]
    uv: Path | None = None


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Build the settings from an environment mapping.

    Args:
        environ: Usually ``os.environ``.
    """
    home = Path(environ.get("HOME") or Path.home())
    cache_home = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    uv = environ.get("DRIVETRAIN_UV")
    return Settings(
        cache_directory=Path(environ.get("DRIVETRAIN_CACHE_DIR") or cache_home / "drivetrain"),
        pyenv_root=Path(environ.get("PYENV_ROOT") or home / ".pyenv"),
        uv=Path(uv) if uv else None,
        environ=dict(environ),
    )
