"""Where things are kept that can be made again."""

from __future__ import annotations

from collections.abc import Mapping


def cache_directory(environ: Mapping[str, str], home: str) -> str:
    """The directory that the environment variables name, else the usual one below the user's home."""
    return environ.get("DRIVETRAIN_CACHE_DIR") or f"{environ.get('XDG_CACHE_HOME') or f'{home}/.cache'}/drivetrain"
