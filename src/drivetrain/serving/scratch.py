"""The directory for a model server's files, which is gone when the server is, also when it was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

_PREFIX = "drivetrain-"
_LOCK = ".lock"


class Scratch:
    """Owns a directory, and a lock in it that the kernel releases when the process ends, however it ends.

    Making one removes those of servers that have died without removing theirs.

    Args:
        parent: Where it is to be; by default where temporary files usually are.
    """

    def __init__(self, parent: str | None = None) -> None:
        parent = parent or _usual_parent()
        _sweep(Path(parent))
        self.path = f"{parent}/{_PREFIX}{os.urandom(4).hex()}"  # short, as sockets are put into it
        Path(self.path).mkdir(mode=0o700)
        self._lock = Path(self.path, _LOCK).open("w")  # noqa: SIM115 (held for as long as the directory is)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Delete the directory with all that is in it. May be called twice."""
        _remove(self.path)
        self._lock.close()


def _sweep(parent: Path) -> None:
    for directory in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # it is somebody else's, is being made or removed, or its server lives
            if directory.stat(follow_symlinks=False).st_uid != os.getuid():
                continue
            with (directory / _LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(directory)


def _usual_parent() -> str:
    import tempfile  # takes milliseconds, with all that it imports

    return tempfile.gettempdir()


def _remove(directory: str | Path) -> None:
    import shutil  # as above

    shutil.rmtree(directory, ignore_errors=True)
