"""How far a template goes, as users say it. Imports little: the command line reads it before it imports the server."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import Enum

from drivetrain.model.errors import Misuse

#: Says it where no option does: in the shell, with ``-e``, or under ``environment`` in the project's config.
SNAPSHOT_VARIABLE = "DRIVETRAIN_SNAPSHOT"


class Snapshot(Enum):
    """What a template has done ahead."""

    OFF = "off"
    IMPORTS = "imports"
    AFTER_SETUP = "after-setup"


def chosen_snapshot(option: str | None, environ: Mapping[str, str], *, pays: bool) -> Snapshot:
    """What the user wants, or else what suits.

    Args:
        option: The command line's word for it; ``None`` and ``auto`` leave it to the environment.
        environ: The variables that the model will see.
        pays: Whether workers will be started again and again, or several of them.

    Raises:
        Misuse: The variable has another value than it may have.
    """
    text = option or environ.get(SNAPSHOT_VARIABLE) or "auto"
    if text == "auto":
        return Snapshot.IMPORTS if pays and sys.platform == "linux" else Snapshot.OFF
    try:
        return Snapshot(text.replace("_", "-"))
    except ValueError:
        values = ", ".join(["auto", *(each.value for each in Snapshot)])
        raise Misuse(f"{SNAPSHOT_VARIABLE} is '{text}'", hint=f"set it to one of {values}") from None
