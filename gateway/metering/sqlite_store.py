"""`Store` on one SQLite file: for one machine, any number of processes on it (SPEC 5)."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from gateway.metering import queries, sqlite_books
from gateway.metering.queries import for_sqlite
from gateway.metering.rows import (
    Amounts,
    Attempt,
    ChannelClaim,
    Claimed,
    Conflict,
    Expired,
    Fenced,
    Granted,
    NewClaim,
    Outcome,
    Rationed,
    RestoredClaim,
    SettlementRow,
    Shortage,
    StoredClaim,
    Uncovered,
    VerdictRow,
)
from gateway.metering.shared import SharedQueries
from gateway.metering.sqlite_thread import SqliteThread, Survives

T = TypeVar("T")


class SqliteStore(SharedQueries):
    """All of `Store`; each call is one transaction on the writer's thread."""

    def __init__(self, path: Path) -> None:
        self._thread = SqliteThread(path)

    async def close(self) -> None:
        """Finish what was asked, then close the file."""
        await self._thread.close()

    async def _quick(self, job: Callable[[sqlite3.Connection], T]) -> T:
        return await self._thread.run(job, Survives.PROCESS)

    async def _durable(self, job: Callable[[sqlite3.Connection], T]) -> T:
        return await self._thread.run(job, Survives.POWER)

    async def _read(self, query: str, *arguments: Any) -> list[Any]:
        return await self._quick(_fetch(query, arguments))

    async def _write(self, query: str, *arguments: Any) -> list[Any]:
        text = for_sqlite(query)
        return await self._durable(
            lambda connection: connection.execute(text, arguments).fetchall()
        )

    # --- Processes ---

    async def open_process(self, slot: int, link_url: str) -> int:
        """Take a slot; older leases of it are gone."""

        def job(connection: sqlite3.Connection) -> int:
            row = connection.execute(for_sqlite(queries.OPEN_PROCESS), (slot, link_url)).fetchone()
            _end_leases(connection, slot)
            epoch: int = row[0]
            return epoch

        return await self._durable(job)

    async def close_process(self, slot: int, epoch: int) -> None:
        """Leave; leases go back."""

        def job(connection: sqlite3.Connection) -> None:
            if connection.execute(for_sqlite(queries.CLOSE_PROCESS), (slot, epoch)).fetchall():
                _end_leases(connection, slot)

        await self._durable(job)

    async def reap(self) -> int:
        """Take the leases of the dead."""

        def job(connection: sqlite3.Connection) -> int:
            dead = connection.execute(for_sqlite(queries.DEAD_SLOTS)).fetchall()
            return sum(_end_leases(connection, row[0]) for row in dead)

        return await self._durable(job)

    # --- Leases ---

    async def grant(
        self, account: str, slot: int, *, epoch: int, need: int, processes: int
    ) -> Granted | Shortage | Fenced:
        """Enlarge a lease."""
        return await self._quick(
            lambda connection: sqlite_books.grant(
                connection, account, slot, epoch=epoch, need=need, processes=processes
            )
        )

    async def ration(
        self, key: str, slot: int, *, epoch: int, needs: Amounts, processes: int
    ) -> Rationed | Fenced:
        """Enlarge a key's allowances."""
        return await self._quick(
            lambda connection: sqlite_books.ration(
                connection, key, slot, epoch=epoch, needs=needs, processes=processes
            )
        )

    # --- Claims ---

    async def claim(
        self, slot: int, epoch: int, batch: Sequence[NewClaim]
    ) -> list[Claimed | Conflict | Fenced]:
        """Commit claims."""
        try:
            return await self._quick(
                lambda connection: sqlite_books.claim_new(connection, slot, epoch, batch)
            )
        except sqlite_books.SomeExist:
            return await self._quick(
                lambda connection: sqlite_books.claim_singly(connection, slot, epoch, batch)
            )

    async def claim_by_channel(
        self, slot: int, epoch: int, batch: Sequence[ChannelClaim]
    ) -> list[Claimed | Conflict | Fenced | Uncovered]:
        """Commit claims and what channels hold for them."""
        return await self._quick(
            lambda connection: sqlite_books.claim_by_channel(connection, slot, epoch, batch)
        )

    async def retarget(self, batch: Sequence[Attempt]) -> list[bool]:
        """Record further attempts."""
        insert = for_sqlite(queries.INSERT_ATTEMPT)

        def one(connection: sqlite3.Connection, row: Attempt) -> bool:
            open_ = connection.execute(
                "UPDATE claim SET attempts = max(attempts, ?2), "
                "winner = CASE WHEN attempts < ?2 THEN ?3 ELSE winner END "
                "WHERE c = ?1 AND state = 'open'",
                (row.c, row.number, row.worker),
            ).rowcount
            if open_:
                values = (row.c, row.number, row.worker, row.ticket, row.offer)
                connection.execute(insert, values)
            return bool(open_)

        return await self._quick(lambda connection: [one(connection, row) for row in batch])

    async def settle(self, batch: Sequence[SettlementRow]) -> list[Outcome]:
        """Settle and book."""
        return await self._durable(lambda connection: sqlite_books.settle(connection, batch))

    async def record(self, batch: Sequence[VerdictRow]) -> list[Outcome]:
        """Store verdicts."""
        return await self._durable(lambda connection: sqlite_books.record(connection, batch))

    async def restore(
        self, batch: Sequence[RestoredClaim]
    ) -> list[Claimed | Conflict | Shortage | Expired]:
        """Insert lost claims."""
        return await self._durable(
            lambda connection: [sqlite_books.restore(connection, row) for row in batch]
        )

    async def find_claims(self, cs: Sequence[bytes]) -> dict[bytes, StoredClaim]:
        """Claims by commitment."""
        return await self._quick(lambda connection: sqlite_books.read_claims(connection, cs))


def _end_leases(connection: sqlite3.Connection, slot: int) -> int:
    """A process is gone: its leases and what it held of keys' limits go back."""
    connection.execute(for_sqlite(queries.DELETE_HOLDS), (slot,))
    return connection.execute("DELETE FROM lease WHERE slot = ?", (slot,)).rowcount


def _fetch(query: str, arguments: tuple[Any, ...]) -> Callable[[sqlite3.Connection], list[Any]]:
    text = for_sqlite(query)
    return lambda connection: connection.execute(text, arguments).fetchall()
