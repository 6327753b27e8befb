"""Opens the store that a database URL names."""

from gateway.database import sqlite_path
from gateway.metering.port import Store
from gateway.metering.sqlite_store import SqliteStore


async def open_store(url: str) -> Store:
    """A `Store` on a database whose schema is up to date; raises `SetupError`, `StoreBusy`."""
    path = sqlite_path(url)
    if path is not None:
        return SqliteStore(path)
    # asyncpg is an extra: gateways on SQLite do without it.
    from gateway.metering.postgres_store import PostgresStore  # noqa: PLC0415

    return await PostgresStore.connect(url)
