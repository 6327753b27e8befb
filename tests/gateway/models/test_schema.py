"""Migrations give exactly the schema of the metadata, on both databases."""

import sqlite3
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic import command
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError

from bombyx.errors import SetupError
from gateway import database
from gateway.models import metadata


async def test_migrated_schema_equals_the_metadata(database_url: str) -> None:
    await database.check(database_url)


async def test_upgrading_twice_changes_nothing(database_url: str) -> None:
    await database.upgrade(database_url)
    await database.check(database_url)


def _downgrade(connection: Connection) -> None:
    config = database._config()
    config.attributes["connection"] = connection
    command.downgrade(config, "-1")


async def test_the_last_migration_goes_back_and_forth_over_rows(database_url: str) -> None:
    engine = database.create_engine(database_url)
    async with engine.begin() as connection:
        await connection.execute(
            text("INSERT INTO account (id, kind, name, created_at) VALUES ('a', 'client', 'A', 0)")
        )
    async with engine.begin() as connection:
        await connection.run_sync(_downgrade)
    with pytest.raises(SetupError, match="revision"):
        await database.check(database_url)
    await database.upgrade(database_url)
    await database.check(database_url)
    async with engine.connect() as connection:
        rows = (await connection.execute(text("SELECT id, closed_at FROM account"))).all()
    assert [tuple(row) for row in rows] == [("a", None)]
    await engine.dispose()


@pytest.mark.parametrize("statement", ["UPDATE audit_log SET actor = ''", "DELETE FROM audit_log"])
async def test_the_audit_log_is_append_only(database_url: str, statement: str) -> None:
    engine = database.create_engine(database_url)
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO audit_log (at, actor, action, target, detail) "
                "VALUES (0, 'cli', 'x', 't', '{}')"
            )
        )
    with pytest.raises(DBAPIError, match="append-only"):
        async with engine.begin() as connection:
            await connection.execute(text(statement))
    await engine.dispose()


async def test_check_names_what_differs(database_url: str) -> None:
    engine = database.create_engine(database_url)
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE offer ADD COLUMN extra TEXT"))
    await engine.dispose()
    with pytest.raises(SetupError, match="extra"):
        await database.check(database_url)


async def test_check_refuses_an_older_schema(database_url: str) -> None:
    engine = database.create_engine(database_url)
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM alembic_version"))
    await engine.dispose()
    with pytest.raises(SetupError, match="revision none"):
        await database.check(database_url)


async def test_check_of_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no database"):
        await database.check(f"sqlite:///{tmp_path}/none.db")


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "sqlite:///:memory:"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(SetupError):
        database.parse_url(url)


def _sqlite_ddl(path: Path) -> dict[str, frozenset[str]]:
    connection = sqlite3.connect(path)
    rows = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name != 'alembic_version'"
    ).fetchall()
    connection.close()
    # A column that a migration added stands on the last line, before the bracket that closes.
    return {
        name: frozenset(
            column.strip(" ,\t)") for line in sql.split("\n") for column in line.split(", ")
        )
        - {""}
        for name, sql in rows
    }


def test_sqlite_ddl_is_the_same_to_the_letter(sqlite_template: Path, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/created.db")
    metadata.create_all(engine)
    engine.dispose()
    assert _sqlite_ddl(tmp_path / "created.db") == _sqlite_ddl(sqlite_template)


async def _postgres_ddl(url: str) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE conrelid::regclass::text != 'alembic_version' AND contype != 'n' UNION ALL "
            "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger "
            "WHERE NOT tgisinternal UNION ALL "
            "SELECT indexname, indexdef FROM pg_indexes "
            "WHERE schemaname = 'public' AND tablename != 'alembic_version' ORDER BY 1, 2"
        )
        return [tuple(row) for row in rows]
    finally:
        await connection.close()


async def test_postgresql_constraints_indexes_and_triggers_are_the_same(
    postgres_url: str, postgres_server: Any
) -> None:
    admin = await asyncpg.connect(postgres_url)
    name = await admin.fetchval("SELECT current_database() || '_created'")
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    created = postgres_server.get_uri(name)
    engine = database.create_engine(created)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await engine.dispose()
    assert await _postgres_ddl(created) == await _postgres_ddl(postgres_url)


@pytest.mark.spec("5.4-b")
@pytest.mark.parametrize(
    "statement", ["UPDATE ledger_entry SET ref = ''", "DELETE FROM ledger_entry"]
)
async def test_the_ledger_is_append_only(database_url: str, statement: str) -> None:
    engine = database.create_engine(database_url)
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO ledger_entry (txn, account, amount_nano, kind, ref, at) "
                "VALUES ('t', 'a', 1, 'credit', '', 0)"
            )
        )
    with pytest.raises(DBAPIError, match="append-only"):
        async with engine.begin() as connection:
            await connection.execute(text(statement))
    await engine.dispose()


async def test_a_booking_cannot_be_made_twice(database_url: str) -> None:
    engine = database.create_engine(database_url)
    insert = text(
        "INSERT INTO ledger_entry (txn, account, amount_nano, kind, ref, at) "
        "VALUES ('t', 'a', 1, 'credit', '', 0)"
    )
    async with engine.begin() as connection:
        await connection.execute(insert)
    with pytest.raises(DBAPIError, match=r"(?i)unique"):
        async with engine.begin() as connection:
            await connection.execute(insert)
    await engine.dispose()


async def test_only_issuance_may_be_negative(database_url: str) -> None:
    engine = database.create_engine(database_url)
    insert = text(
        "INSERT INTO account (id, kind, name, posted, created_at) VALUES (:id, :kind, '', -1, 0)"
    )
    async with engine.begin() as connection:
        await connection.execute(insert, {"id": "issuance", "kind": "issuance"})
    with pytest.raises(DBAPIError, match="posted_not_negative"):
        async with engine.begin() as connection:
            await connection.execute(insert, {"id": "x", "kind": "client"})
    await engine.dispose()
