"""Packages that an environment holds beside those a project names, because projects have come to rely on them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

#: There before anything else is installed, as in the Python images that Cog builds on. Projects call ``pip``, and older packages
#: import ``pkg_resources`` or its ``packaging``, which later releases of setuptools do not have. Images of Python 3.12 and later
#: hold no setuptools.
SEEDS = ("pip", "setuptools<70; python_version < '3.12'", "wheel; python_version < '3.12'")

#: Came along with the ``cog`` package, so that projects import them without naming them. Its bounds on their versions were its own.
COMPANIONS = ("attrs", "fastapi", "pydantic", "PyYAML", "requests", "structlog", "typing_extensions", "uvicorn")


def installed_versions(venv: Path) -> Mapping[str, str]:
    """Versions of what is installed in a virtual environment, by normalised name."""
    directories = venv.glob("lib/python*/site-packages/*.dist-info")
    pairs = (directory.stem.partition("-") for directory in directories)
    return {_normalised(name): version for name, _, version in pairs}


def missing_companions(installed: Iterable[str]) -> tuple[str, ...]:
    """Those that are not among the installed packages, which are given by their normalised names."""
    there = frozenset(installed)
    return tuple(name for name in COMPANIONS if _normalised(name) not in there)


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
