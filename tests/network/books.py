"""The database as an accident would leave it."""

import sqlite3
from typing import Any

from tests.network.harness import Network


async def execute(net: Network, statement: str, *values: Any) -> None:
    """One statement on the network's SQLite file, over a connection of its own."""
    connection = sqlite3.connect(net.folder / "gateway.db", timeout=5)
    try:
        with connection:
            assert connection.execute(statement, values).rowcount == 1
    finally:
        connection.close()
