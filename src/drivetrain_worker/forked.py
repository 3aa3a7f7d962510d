"""Copies of the worker that the author's code made with ``os.fork`` and did not end.

In such a child the author's call returns, or raises, into the worker's code as if the child were the worker. It must not go on
there: it would complete the prediction with its own result and take frames that are for the worker. It ends instead, as a script
ends.
"""

from __future__ import annotations

import os
from typing import Optional

from drivetrain_worker import capture
from drivetrain_worker.failure import traceback_of

_is_copy = False
_is_installed = False


def install() -> None:
    """Have every fork of this process noticed. Children that ``multiprocessing`` forks end by themselves and are none the wiser.

    May be called twice.
    """
    global _is_installed
    if not _is_installed:
        _is_installed = True
        os.register_at_fork(after_in_child=_note_copy)


def adopt() -> None:
    """This copy was made by a template on purpose: it is the worker, and copies of it are the copies."""
    global _is_copy
    _is_copy = False


def end_copy(error: Optional[BaseException] = None) -> None:
    """Do nothing in the worker. In a copy of it, end the process; ``error`` is what the author's code raised there."""
    if not _is_copy:
        return
    status = _exit_status(error)
    capture.flush()
    os._exit(status)


def _note_copy() -> None:
    global _is_copy
    _is_copy = True


def _exit_status(error: Optional[BaseException]) -> int:
    if error is None:
        return 0
    if not isinstance(error, SystemExit):
        capture.write_error(traceback_of(error))
        return 1
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    capture.write_error("%s\n" % (error.code,))
    return 1
