"""Where things are in an image.

Two worlds live in it that share no packages: the model's, which is what the author asked for, and ours, which serves it.
"""

from __future__ import annotations

from typing import Final

#: The project, as Cog has it; platforms and predictors know this path.
SOURCE: Final = "/src"
#: The model's interpreter and packages: a virtual environment.
MODEL: Final = "/opt/model"
#: The server's, another one.
SERVER: Final = "/opt/drivetrain"
#: An interpreter that we bring, where the base has none.
PYTHON: Final = "/opt/python"
#: What the container runs first: ends it properly, and buries orphans.
INIT: Final = f"{SERVER}/init.py"
#: Asks the server how the model is.
HEALTH: Final = f"{SERVER}/health.py"
#: Certificates that the builder was given, beside those that everybody trusts.
CERTIFICATES: Final = f"{SERVER}/certificates.pem"

PORT: Final = 5000


def site_packages(world: str, python: str) -> str:
    """The directory of packages in one of the worlds.

    Args:
        world: ``MODEL`` or ``SERVER``.
        python: ``MAJOR.MINOR``.
    """
    return f"{world}/lib/python{python}/site-packages"


def inner(path: str) -> str:
    """A path as archives have it."""
    return path.lstrip("/")
