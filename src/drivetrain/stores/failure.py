"""What can go wrong with a store, whatever keeps it.

OutsideFailed
└── StoreFailed        it cannot be read or written now
    ├── StoreInUse     another process holds it
    ├── StoreTooNew    it was written by a newer drivetrain
    ├── StoreDamaged   it is not what was written
    └── DiskFull       there is no room; nothing was written, and it goes on when there is
"""

from __future__ import annotations

from drivetrain.model.errors import OutsideFailed


class StoreFailed(OutsideFailed):
    """A store cannot be read or written now."""

    code = "store_failed"


class StoreInUse(StoreFailed):
    """Another process holds the store."""

    code = "store_in_use"


class StoreTooNew(StoreFailed):
    """The store was written by a newer drivetrain."""

    code = "store_too_new"


class StoreDamaged(StoreFailed):
    """The store is not what was written."""

    code = "store_damaged"


class DiskFull(StoreFailed):
    """There is no room on the disk."""

    code = "disk_full"
