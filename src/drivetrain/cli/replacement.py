"""The program that takes the place of this process, in its terminal and under its process id."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn


def replace_process(program: str, arguments: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Make way for a program.

    Raises:
        OSError: It cannot be run.
    """
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and that would be inherited
        signal.signal(number, signal.SIG_DFL)
    sys.stdout.flush()
    os.execve(program, list(arguments), dict(environ))  # noqa: S606 (running what the user asked for is what this is for)
