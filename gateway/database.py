"""Where the database is, and whether its schema is ours (SQLAlchemy and alembic, in code).

Used for DDL and for what administrators do; requests go through the raw drivers of
`gateway.metering`. URLs are `sqlite:///path` and `postgresql://…`, unix sockets included.
"""

import sqlite3
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, ColumnElement, Connection, event, literal_column, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.types import BigInteger

import migrations
from bombyx.errors import SetupError
from gateway.models import metadata

BUSY_TIMEOUT_MS = 5_000
"""How long a SQLite writer waits for another process's short transaction."""

WAL_PAGES = 8_000
"""32 MiB between checkpoints: settlements touch scattered pages, often the same ones again."""
CACHE_KIB = 32_768

SQLITE_NOW_MS = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
POSTGRES_NOW_MS = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)"

_FORM = "the database URL is sqlite:///path or postgresql://…"
_UPGRADE_LOCK = 0x626F6D627978
"""Advisory lock of PostgreSQL: two gateways that start together do not migrate together."""


def parse_url(url: str) -> URL:
    """Read a database URL; raises `SetupError` for any but the two databases."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise SetupError(_FORM) from None
    if parsed.drivername == "sqlite" and parsed.database not in {None, "", ":memory:"}:
        return parsed
    if parsed.drivername in {"postgresql", "postgres"}:
        return parsed
    raise SetupError(_FORM)


def sqlite_path(url: str) -> Path | None:
    """The file of a SQLite URL; None for PostgreSQL."""
    parsed = parse_url(url)
    return Path(parsed.database or "") if parsed.drivername == "sqlite" else None


def create_engine(url: str) -> AsyncEngine:
    """An async engine for administration; raises `SetupError` for an unknown URL."""
    if sqlite_path(url) is None:
        # An extra, which gateways on SQLite do without. It reads the URL itself: it knows sockets
        # in `?host=/path`.
        import asyncpg  # noqa: PLC0415

        async def connect() -> Any:
            try:
                return await asyncpg.connect(url)
            except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                # Its message may repeat the URL, which may hold a password.
                raise SetupError(f"cannot reach the database: {type(error).__name__}") from None

        # A restarted server leaves dead connections behind: they must not cost an answer each.
        return create_async_engine(
            "postgresql+asyncpg://", async_creator=connect, pool_pre_ping=True
        )
    engine = create_async_engine(parse_url(url).set(drivername="sqlite+aiosqlite"))
    event.listen(engine.sync_engine, "connect", _set_pragmas)
    return engine


def _set_pragmas(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    f"PRAGMA wal_autocheckpoint = {WAL_PAGES}",
    f"PRAGMA cache_size = -{CACHE_KIB}",
)


def connect_sqlite(path: Path) -> sqlite3.Connection:
    """A raw connection in autocommit mode, to be used by one thread."""
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=512
    )
    for pragma in PRAGMAS:
        connection.execute(pragma)
    return connection


def now_ms(connection: AsyncConnection) -> ColumnElement[int]:
    """The database's clock, in unix milliseconds, as an expression."""
    sqlite = connection.dialect.name == "sqlite"
    return literal_column(SQLITE_NOW_MS if sqlite else POSTGRES_NOW_MS, BigInteger())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return config


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})"))
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def upgrade(url: str) -> None:
    """Bring the schema to the newest version; does nothing where it is already there."""
    path = sqlite_path(url)
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SetupError(f"cannot make {path.parent}: {error.strerror}") from None
    engine = create_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade)
    except DBAPIError as error:
        raise SetupError(_unusable(error)) from None
    finally:
        await engine.dispose()


def _unusable(error: DBAPIError) -> str:
    return f"the database cannot be used: {error.orig}"


def _differences(connection: Connection) -> list[str]:
    context = MigrationContext.configure(connection, opts={"compare_server_default": True})
    head = ScriptDirectory.from_config(_config()).get_current_head()
    found = context.get_current_revision()
    if found != head:
        return [f"the schema is at revision {found or 'none'}, this version needs {head}"]
    return [str(difference) for difference in compare_metadata(context, metadata)]


async def check(url: str) -> None:
    """Whether the schema is this version's; raises `SetupError` saying what differs."""
    path = sqlite_path(url)
    if path is not None and not path.exists():
        raise SetupError(f"there is no database at {path}: run `bombyx db upgrade`")
    engine = create_engine(url)
    try:
        async with engine.connect() as connection:
            differences = await connection.run_sync(_differences)
    except DBAPIError as error:
        raise SetupError(_unusable(error)) from None
    finally:
        await engine.dispose()
    if differences:
        raise SetupError("run `bombyx db upgrade`: " + "; ".join(differences))
