"""Makes the edits that checks propose: each file at once or not at all."""

from __future__ import annotations

import ast
import difflib
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from drivetrain.dialects.cog.doctor.edit import Edit, edited


@dataclass(frozen=True, kw_only=True)
class Change:
    """What was changed in a file.

    Attributes:
        path: The file.
        before: Its text before.
        after: Its text now.
    """

    path: Path
    before: str
    after: str

    @property
    def lines(self) -> Iterator[str]:
        """The lines that went and those that came, marked by ``-`` and ``+``."""
        diff = difflib.unified_diff(self.before.splitlines(), self.after.splitlines(), lineterm="", n=0)
        return (line for line in itertools.islice(diff, 2, None) if not line.startswith("@@"))


def mend(edits: Iterable[Edit]) -> tuple[Change, ...]:
    """Make edits. A Python file that would not be one any more stays as it is.

    Raises:
        OSError: A file cannot be written; it is as it was.
    """
    by_path = itertools.groupby(sorted(set(edits)), key=lambda edit: edit.path)
    return tuple(change for path, of_file in by_path if (change := _mend_file(path, of_file)) is not None)


def _mend_file(path: Path, edits: Iterable[Edit]) -> Change | None:
    before = path.read_bytes()
    after = edited(before, edits)
    if after == before or (path.suffix == ".py" and not _is_python(after)):
        return None
    _replace(path.resolve(), after)
    return Change(path=path, before=before.decode(), after=after.decode())


def _is_python(content: bytes) -> bool:
    try:
        ast.parse(content)
    except (SyntaxError, ValueError):
        return False
    return True


def _replace(path: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as new:
        try:
            new.write(content)
            new.flush()
            os.fsync(new.fileno())
            shutil.copymode(path, new.name)
            Path(new.name).replace(path)
        except BaseException:
            Path(new.name).unlink(missing_ok=True)
            raise
