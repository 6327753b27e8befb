"""The database as an accident would leave it."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

from tests.network.harness import Network


async def execute(net: Network, statement: str, *values: Any) -> None:
    """One statement on the network's SQLite file, over a connection of its own."""
    # In a thread: whoever holds the file's lock may need this loop to let go of it.
    await asyncio.to_thread(_execute, net.folder / "gateway.db", statement, values)


def _execute(path: Path, statement: str, values: tuple[Any, ...]) -> None:
    connection = sqlite3.connect(path, timeout=5)
    try:
        with connection:
            assert connection.execute(statement, values).rowcount == 1
    finally:
        connection.close()
