"""The part of `Store` that is one statement each, the same on both databases."""

from abc import ABC, abstractmethod
from typing import Any

from gateway.metering import queries
from gateway.metering.queries import stored_claim, stored_receipt
from gateway.metering.rows import (
    Attempt,
    KeyLimits,
    Process,
    RetryKey,
    StoredClaim,
    StoredKey,
    StoredReceipt,
)


class SharedQueries(ABC):
    """Reads and small writes of `queries`, given a way to run one."""

    @abstractmethod
    async def _read(self, query: str, *arguments: Any) -> list[Any]:
        """Run one statement; what it writes outlives this process."""

    @abstractmethod
    async def _write(self, query: str, *arguments: Any) -> list[Any]:
        """Run one statement; what it writes outlives a loss of power."""

    async def renew_process(self, slot: int, epoch: int) -> bool:
        """Live on."""
        return bool(await self._read(queries.RENEW_PROCESS, slot, epoch))

    async def drain_process(self, slot: int, epoch: int) -> None:
        """Take no new work."""
        await self._read(queries.DRAIN_PROCESS, slot, epoch)

    async def processes(self) -> list[Process]:
        """Who is alive."""
        rows = await self._read(queries.PROCESSES)
        return [Process(slot, epoch, url, bool(draining)) for slot, epoch, url, draining in rows]

    async def give_back(self, account: str, slot: int, *, epoch: int, amount: int) -> None:
        """Shrink a lease."""
        await self._read(queries.GIVE_BACK, account, slot, epoch, amount)

    async def recalls(self, slot: int, epoch: int) -> list[str]:
        """Accounts that others run short of."""
        return [row[0] for row in await self._read(queries.RECALLS, slot, epoch)]

    async def attempts(self, c: bytes) -> list[Attempt]:
        """Every dispatch of a claim."""
        return [Attempt(*row) for row in await self._read(queries.ATTEMPTS, c)]

    async def unsettled_before(self, deadline: int, limit: int) -> list[StoredClaim]:
        """Open claims with an earlier deadline."""
        return await self._claims(queries.UNSETTLED_BEFORE, deadline, limit)

    async def overdue(self, slot: int, epoch: int, *, grace_ms: int) -> list[StoredClaim]:
        """Overdue claims that are ours to settle."""
        return await self._claims(queries.OVERDUE, slot, epoch, grace_ms)

    async def open_claims(self, slot: int, epoch: int) -> list[StoredClaim]:
        """Open claims of one process."""
        return await self._claims(queries.OPEN_CLAIMS, slot, epoch)

    async def claims_by_id(self, account: str, request_id: str) -> list[StoredClaim]:
        """Claims with a request id."""
        return await self._claims(queries.CLAIMS_BY_ID, account, request_id)

    async def _claims(self, query: str, *arguments: Any) -> list[StoredClaim]:
        return [stored_claim(row) for row in await self._read(query, *arguments)]

    async def receipts_of(self, c: bytes) -> list[StoredReceipt]:
        """Judged statements of a claim."""
        return [stored_receipt(row) for row in await self._read(queries.RECEIPTS_OF, c)]

    async def find_key(self, digest: bytes) -> StoredKey | None:
        """A key that is valid now."""
        rows = await self._read(queries.FIND_KEY, digest)
        if not rows:
            return None
        named, account, scope, *limits, limited = rows[0]
        return StoredKey(named, account, scope, KeyLimits.of(limits) if limited else None)

    async def return_allowance(
        self, key: str, slot: int, *, kind: str, term: int, amount: int
    ) -> None:
        """Shrink an allowance."""
        await self._read(queries.RETURN_ALLOWANCE, key, kind, slot, term, amount)

    async def key_recalls(self, slot: int) -> list[str]:
        """Keys that others run short of."""
        return [row[0] for row in await self._read(queries.KEY_RECALLS, slot)]

    async def spent(self, key: str, since_day: int) -> int:
        """What a key cost, with reserves that no allowance covers."""
        return await self._number(queries.SPENT, key, since_day)

    async def bind_payer(self, key: str, account: str) -> str:
        """First use binds."""
        await self._write(queries.BIND_PAYER, key, account)
        rows = await self._read(queries.PAYER_ACCOUNT, key)
        owner: str = rows[0][0]
        return owner

    async def bind_retry(self, row: RetryKey) -> RetryKey:
        """First use binds."""
        await self._read(queries.BIND_RETRY, row.account, row.key, row.body_digest, row.c)
        return RetryKey(*(await self._read(queries.FIND_RETRY, row.account, row.key))[0])

    async def rebind_retry(self, row: RetryKey, *, instead_of: bytes) -> bool:
        """Only where it still stands for `instead_of`."""
        found = await self._read(queries.REBIND_RETRY, row.account, row.key, instead_of, row.c)
        return bool(found)

    async def now_ms(self) -> int:
        """The database's clock."""
        return await self._number(queries.CLOCK)

    async def ledger_sum(self) -> int:
        """Sum of all entries."""
        return await self._number(queries.LEDGER_SUM)

    async def overcommitted(self) -> list[str]:
        """Accounts that lent more than they have."""
        return [row[0] for row in await self._read(queries.OVERCOMMITTED)]

    async def unposted(self) -> list[str]:
        """Accounts at odds with the ledger."""
        return [row[0] for row in await self._read(queries.UNPOSTED)]

    async def uneven_channels(self) -> list[str]:
        """Channels at odds with their claims or the ledger."""
        return [row[0] for row in await self._read(queries.UNEVEN_CHANNELS)]

    async def billing_gap(self) -> int:
        """Charges without receipts."""
        return await self._number(queries.BILLING_GAP)

    async def _number(self, query: str, *arguments: Any) -> int:
        rows = await self._read(query, *arguments)
        number: int = rows[0][0]
        return number
