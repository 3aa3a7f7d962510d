"""Open the platform's state."""

from __future__ import annotations

from pathlib import Path

from drivetrain.platform.store import Store
from drivetrain.stores.sqlite.app import SqliteAppStore
from drivetrain.stores.sqlite.database import open_database
from drivetrain.stores.sqlite.delivery import SqliteDeliveryStore
from drivetrain.stores.sqlite.key import SqliteKeyStore
from drivetrain.stores.sqlite.migration import migrations_in
from drivetrain.stores.sqlite.queue import SqliteQueueStore
from drivetrain.stores.sqlite.secret import SqliteSecretStore

#: "dtrn", in SQLite's header of files that are ours.
_APPLICATION_ID = 0x6474726E


async def open_store(path: Path) -> Store:
    """Open the state in a file, making it where there is none. It belongs to the running event loop, and to this process alone.

    Raises:
        StoreInUse: Another process has it open.
        StoreTooNew: A newer drivetrain wrote it.
        StoreDamaged: It is no database, or another program's.
        StoreFailed: It cannot be opened or written.
    """
    migrations = migrations_in(Path(__file__).with_name("migrations"))
    database = await open_database(path, migrations, application_id=_APPLICATION_ID)
    return Store(
        queue=SqliteQueueStore(database),
        apps=SqliteAppStore(database),
        keys=SqliteKeyStore(database),
        secrets=SqliteSecretStore(database),
        deliveries=SqliteDeliveryStore(database),
        close=database.aclose,
    )
