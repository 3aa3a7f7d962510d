"""State in one SQLite file. Nothing outside this package knows SQL."""

from drivetrain.stores.sqlite.opening import open_store

__all__ = ["open_store"]
