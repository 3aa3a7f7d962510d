"""The directory that a runner works in: a copy of its project, for it alone, and a place for temporary files.

Models write beside their code: results under fixed names, weights they fetch, bytecode. In a container each has the project for
itself, so here too: no runner sees another's files, and the project that was uploaded stays as it is. Small files are copied; large
ones are shared by a link, or cloned where the file system can, since they are weights, which are read.
"""

from __future__ import annotations

import fcntl
import shutil
from dataclasses import dataclass
from pathlib import Path

#: A larger file costs more time to copy than most models have for their start.
_LARGEST_COPY = 4 * 1024 * 1024

#: Ask a file system to share blocks until one of two files is written to (Linux's FICLONE).
_CLONE = 0x40049409


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """Directories of one runner.

    Attributes:
        directory: Holds the others.
        project: The copy of the project.
        temporary: For temporary files.
    """

    directory: Path
    project: Path
    temporary: Path

    def remove(self) -> None:
        """Delete it with all that is in it. May be called twice."""
        shutil.rmtree(self.directory, ignore_errors=True)


def make_workplace(directory: Path, source: Path) -> Workplace:
    """Make the directories, and the copy of ``source``.

    Raises:
        OSError: They cannot be made; what was begun is removed.
    """
    workplace = Workplace(directory=directory, project=directory / "project", temporary=directory / "temporary")
    try:
        workplace.temporary.mkdir(mode=0o700, parents=True)
        shutil.copytree(source, workplace.project, symlinks=True, copy_function=_bring)
    except BaseException:
        workplace.remove()
        raise
    return workplace


def _bring(source: str, target: str) -> None:
    if Path(source).stat(follow_symlinks=False).st_size <= _LARGEST_COPY:
        shutil.copy2(source, target, follow_symlinks=False)
    elif not _clone(source, target):
        Path(target).symlink_to(source)


def _clone(source: str, target: str) -> bool:
    try:
        with open(source, "rb") as original, open(target, "wb") as copy:  # noqa: PTH123 (texts, as copytree gives them)
            fcntl.ioctl(copy.fileno(), _CLONE, original.fileno())
        shutil.copystat(source, target)
    except OSError:  # another file system, or one that cannot
        Path(target).unlink(missing_ok=True)
        return False
    return True
