"""Where ``-o`` says that output goes, looked at before anything is started."""

from __future__ import annotations

import os
from pathlib import Path

from drivetrain.model.errors import Misuse


def target_path(text: str | None) -> Path | None:
    """The path that the user gave, if he gave one; Cog's command line lets it begin with ``@``.

    Raises:
        Misuse: It cannot be written to. Better now than after an hour's prediction.
    """
    if text is None:
        return None
    target = Path(text.removeprefix("@")).expanduser()
    directory = target if target.is_dir() else target.parent
    if not directory.is_dir():
        raise Misuse(f"cannot write to '{target}': there is no directory '{directory}'")
    if not os.access(directory, os.W_OK) or (target.is_file() and not os.access(target, os.W_OK)):
        raise Misuse(f"cannot write to '{target}': permission denied")
    return target
