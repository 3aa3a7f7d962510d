"""What SQLite says, in our words."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from drivetrain.model.errors import DrivetrainError, InternalError
from drivetrain.stores.failure import DiskFull, StoreDamaged, StoreFailed, StoreInUse

_DAMAGED = ("file is not a database", "database disk image is malformed", "malformed database schema")


def translated(error: sqlite3.Error, path: Path) -> DrivetrainError:
    """The error to raise for one of SQLite's. (By its text: Python 3.10 does not tell the code.)"""
    problem = _translated(error, path)
    problem.__cause__ = error
    return problem


def _translated(error: sqlite3.Error, path: Path) -> DrivetrainError:
    said = str(error)
    if "disk is full" in said:
        return DiskFull(
            f"'{path}' cannot be written: the disk is full",
            hint="make room; nothing was written, and work goes on when there is some",
        )
    if "is locked" in said:
        return StoreInUse(f"'{path}' is locked by another program", hint="end the program that has the file open for writing")
    if any(text in said for text in _DAMAGED):
        return StoreDamaged(
            f"'{path}' is damaged: {said}",
            hint="restore it from a backup, together with the files beside it that end in -wal and -shm",
        )
    if isinstance(error, (sqlite3.OperationalError, sqlite3.DatabaseError)) and not isinstance(
        error, (sqlite3.IntegrityError, sqlite3.ProgrammingError)
    ):
        return StoreFailed(f"'{path}' cannot be used: {said}", hint="see that the disk is well and the directory may be written")
    return InternalError(f"'{path}' refused what it was asked: {said}")
