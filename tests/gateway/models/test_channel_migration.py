"""A database with money in it gets channels: nothing is lost, and its checks know the new words."""

from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from gateway import database

BEFORE, AFTER = "202611230030", "202611230300"
ACCOUNT = "INSERT INTO account (id, kind, name, posted, created_at) VALUES (:id, :kind, '', :p, 0)"
ENTRY = (
    "INSERT INTO ledger_entry (txn, account, amount_nano, kind, ref, at) "
    "VALUES (:txn, 'alice', 5, :kind, '', 0)"
)


def _go(connection: Connection, way: Any, revision: str) -> None:
    config = database._config()
    config.attributes["connection"] = connection
    way(config, revision)


async def test_money_and_triggers_stay_and_new_kinds_are_known(database_url: str) -> None:
    engine = database.create_engine(database_url)
    async with engine.begin() as connection:
        await connection.run_sync(_go, command.downgrade, BEFORE)
    async with engine.begin() as connection:
        await connection.execute(text(ACCOUNT), {"id": "alice", "kind": "client", "p": 5})
        await connection.execute(text(ENTRY), {"txn": "t", "kind": "credit"})
    for statement, values in (
        (ACCOUNT, {"id": "c", "kind": "chain", "p": -5}),
        (ENTRY, {"txn": "u", "kind": "deposit"}),
    ):
        with pytest.raises(IntegrityError):
            async with engine.begin() as connection:
                await connection.execute(text(statement), values)
    async with engine.begin() as connection:
        await connection.run_sync(_go, command.upgrade, AFTER)
        # On the connection that migrated, which knew the old text.
        await connection.execute(text(ACCOUNT), {"id": "c", "kind": "chain", "p": -5})
        await connection.execute(text(ENTRY), {"txn": "u", "kind": "deposit"})
    for statement, values in (
        (ACCOUNT, {"id": "d", "kind": "channel", "p": -5}),
        (ACCOUNT, {"id": "d", "kind": "other", "p": 0}),
        (ENTRY, {"txn": "u", "kind": "deposit"}),
        (ENTRY, {"txn": "v", "kind": "other"}),
        ("UPDATE ledger_entry SET amount_nano = 0", {}),
    ):
        with pytest.raises(DBAPIError):
            async with engine.begin() as connection:
                await connection.execute(text(statement), values)
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT txn, amount_nano FROM ledger_entry"))
        assert sorted(tuple(row) for row in rows) == [("t", 5), ("u", 5)]
        if connection.dialect.name == "sqlite":
            assert (await connection.execute(text("PRAGMA integrity_check"))).scalar() == "ok"
    await engine.dispose()
