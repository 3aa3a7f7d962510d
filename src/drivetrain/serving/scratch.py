"""The directory for a model server's files, which is gone when the server is, also when it was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "drivetrain-"
_LOCK = ".lock"


class Scratch:
    """Owns a directory, and a lock in it that the kernel releases when the process ends, however it ends.

    Making one removes those of servers that have died without removing theirs.
    """

    def __init__(self) -> None:
        _sweep(Path(tempfile.gettempdir()))
        self.path = tempfile.mkdtemp(prefix=_PREFIX)
        self._lock = Path(self.path, _LOCK).open("w")  # noqa: SIM115 (held for as long as the directory is)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Delete the directory with all that is in it. May be called twice."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def _sweep(parent: Path) -> None:
    for directory in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # it is somebody else's, is being made or removed, or its server lives
            if directory.stat(follow_symlinks=False).st_uid != os.getuid():
                continue
            with (directory / _LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
