"""`Store` on PostgreSQL, for gateways on more than one machine (SPEC 5).

Two pools: claims commit without waiting for the disk (`synchronous_commit = off` survives the death
of a gateway, and a ticket rebuilds what a crash of the server loses), money waits for it.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg

from bombyx.errors import StoreBusy
from gateway.metering import postgres_books as books
from gateway.metering import postgres_sql as sql
from gateway.metering import queries
from gateway.metering.channel_plan import answers
from gateway.metering.queries import for_postgres, stored_claim
from gateway.metering.rows import (
    FEES_ACCOUNT,
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
from gateway.metering.settlement import kind_of
from gateway.metering.shared import SharedQueries

POOL_SIZE = 4
"""Connections of each of the two pools: batches are few at a time and large."""
COMMAND_TIMEOUT_S = 10.0

_PASSING = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InterfaceError,
    OSError,
    TimeoutError,
)
"""What a repetition can cure."""


@contextlib.contextmanager
def _translated() -> Any:
    try:
        yield
    except _PASSING as error:
        raise StoreBusy(f"the database is not available: {type(error).__name__}") from error


class PostgresStore(SharedQueries):
    """All of `Store`; make one with `connect`."""

    def __init__(self, quick: Any, durable: Any) -> None:
        self._quick = quick
        self._durable = durable
        self._accounts: set[str] = set()

    @classmethod
    async def connect(cls, url: str) -> "PostgresStore":
        """Open both pools; raises `StoreBusy` when the server does not answer."""
        with _translated():
            quick = await _pool(url, "off")
            return cls(quick, await _pool(url, "on"))

    async def close(self) -> None:
        """Let go of all connections."""
        await self._quick.close()
        await self._durable.close()

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Any]:
        with _translated():
            async with self._durable.acquire() as connection, connection.transaction():
                yield connection

    async def _read(self, query: str, *arguments: Any) -> list[Any]:
        with _translated():
            rows: list[Any] = await self._quick.fetch(for_postgres(query), *arguments)
            return rows

    async def _write(self, query: str, *arguments: Any) -> list[Any]:
        with _translated():
            rows: list[Any] = await self._durable.fetch(for_postgres(query), *arguments)
            return rows

    # --- Processes ---

    async def open_process(self, slot: int, link_url: str) -> int:
        """Take a slot; older leases of it are gone."""
        async with self._transaction() as connection:
            query = for_postgres(queries.OPEN_PROCESS)
            epoch: int = await connection.fetchval(query, slot, link_url)
            await books.take_leases(connection, [slot])
            return epoch

    async def close_process(self, slot: int, epoch: int) -> None:
        """Leave; leases go back."""
        async with self._transaction() as connection:
            if await connection.fetchval(queries.CLOSE_PROCESS, slot, epoch) is not None:
                await books.take_leases(connection, [slot])

    async def reap(self) -> int:
        """Take the leases of the dead."""
        async with self._transaction() as connection:
            dead = [row[0] for row in await connection.fetch(sql.DEAD_SLOTS)]
            return await books.take_leases(connection, dead)

    # --- Leases ---

    async def grant(
        self, account: str, slot: int, *, epoch: int, need: int, processes: int
    ) -> Granted | Shortage | Fenced:
        """Enlarge a lease."""
        async with self._transaction() as connection:
            return await books.grant(
                connection, account, slot, epoch=epoch, need=need, processes=processes
            )

    async def ration(
        self, key: str, slot: int, *, epoch: int, needs: Amounts, processes: int
    ) -> Rationed | Fenced:
        """Enlarge a key's allowances."""
        async with self._transaction() as connection:
            return await books.ration(
                connection, key, slot, epoch=epoch, needs=needs, processes=processes
            )

    # --- Claims ---

    async def claim(
        self, slot: int, epoch: int, batch: Sequence[NewClaim]
    ) -> list[Claimed | Conflict | Fenced]:
        """Commit claims; a commitment that comes twice in a batch is inserted once."""
        first: dict[bytes, NewClaim] = {}
        for row in batch:
            first.setdefault(row.c, row)
        arrays = books.columns([books.claim_values(row) for row in first.values()])
        with _translated():
            rows = await self._quick.fetch(sql.CLAIM, slot, epoch, *arrays)
        mine = {row[0] for row in rows}
        if len(mine) == len(batch):
            return [Claimed(row.c) for row in batch]
        stored = await self.find_claims([row.c for row in batch])
        return [
            Claimed(row.c)
            if row.c in mine and first[row.c] is row
            else (Conflict(stored[row.c]) if row.c in stored else Fenced())
            for row in batch
        ]

    async def claim_by_channel(
        self, slot: int, epoch: int, batch: Sequence[ChannelClaim]
    ) -> list[Claimed | Conflict | Fenced | Uncovered]:
        """Commit claims and what channels hold for them; a crash of the server may lose both."""
        first: dict[bytes, ChannelClaim] = {}
        for one in batch:
            first.setdefault(one.claim.c, one)
        with _translated():
            async with self._quick.acquire() as connection, connection.transaction():
                plan = await books.claim_by_channel(connection, slot, epoch, first.values())
        if len(plan.held) == len(batch):
            return [Claimed(one.claim.c) for one in batch]
        stored = await self.find_claims([one.claim.c for one in batch])
        return answers(batch, plan, stored.get)

    async def find_claims(self, cs: Sequence[bytes]) -> dict[bytes, StoredClaim]:
        """Claims by commitment."""
        rows = await self._read(sql.CLAIMS_IN, list(cs))
        return {row[0]: stored_claim(row) for row in rows}

    async def retarget(self, batch: Sequence[Attempt]) -> list[bool]:
        """Record further attempts."""
        values = [(row.c, row.number, row.worker, row.ticket, row.offer) for row in batch]
        rows = await self._read(sql.RETARGET, *books.columns(values))
        still_open = {row[0] for row in rows}
        return [row.c in still_open for row in batch]

    async def settle(self, batch: Sequence[SettlementRow]) -> list[Outcome]:
        """Settle and book."""
        await self._ensure_accounts(batch)
        async with self._transaction() as connection:
            return await books.settle(connection, batch)

    async def _ensure_accounts(self, batch: Sequence[SettlementRow]) -> None:
        """Before the transaction, so that new rows are never waited for under a lock."""
        needed = {row.payee for row in batch if row.amount} | {FEES_ACCOUNT}
        for account in sorted(needed - self._accounts):
            await self._write(queries.ENSURE_ACCOUNT, account, kind_of(account))
            self._accounts.add(account)

    async def record(self, batch: Sequence[VerdictRow]) -> list[Outcome]:
        """Store verdicts."""
        async with self._transaction() as connection:
            return await books.record(connection, batch)

    async def restore(
        self, batch: Sequence[RestoredClaim]
    ) -> list[Claimed | Conflict | Shortage | Expired]:
        """Insert lost claims, each in a transaction of its own: they are few, and lock accounts."""
        answers = []
        for row in batch:
            async with self._transaction() as connection:
                answers.append(await books.restore(connection, row))
        return answers


async def _pool(url: str, synchronous_commit: str) -> Any:
    return await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=POOL_SIZE,
        command_timeout=COMMAND_TIMEOUT_S,
        server_settings={"synchronous_commit": synchronous_commit},
    )
