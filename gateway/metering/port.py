"""What metering needs from a database: batches in, final answers out (SPEC 5).

Implemented on raw drivers by `sqlite_store` and `postgres_store`; one contract suite holds both.
Every method raises `StoreBusy` for what a repetition can cure (locks, deadlocks, lost connections):
the batch then happened wholly or not at all, and may be sent again as it is.
Time is the database's clock throughout.
"""

from collections.abc import Sequence
from typing import Protocol

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
    Process,
    Rationed,
    RestoredClaim,
    RetryKey,
    SettlementRow,
    Shortage,
    StoredClaim,
    StoredKey,
    StoredReceipt,
    Uncovered,
    VerdictRow,
)

PROCESS_TTL_MS = 15_000
"""A process that does not renew for so long is fenced (SPEC 5.5)."""
REAP_AFTER_MS = 5_000
"""How long after that its leases are taken (SPEC 5.6)."""
GRANT_FACTOR = 16
"""A grant is at most so many reserves, so that one process does not hoard (SPEC 5.1)."""
ORPHAN_SLOT = -1
"""Slot of restored claims that no lease covers."""


def grant_size(need: int, available: int, processes: int) -> int:
    """How much to lease for `need` (SPEC 5.1); 0 when it is not there."""
    if available < need:
        return 0
    generous = min(available // (2 * max(processes, 1)), GRANT_FACTOR * need)
    return min(available, max(need, generous))


class Processes(Protocol):
    """Who runs (SPEC 5.5, 5.6)."""

    async def open_process(self, slot: int, link_url: str) -> int:
        """Take a slot: a new epoch, which fences whoever had the slot; its leases are gone."""
        ...

    async def renew_process(self, slot: int, epoch: int) -> bool:
        """Live on for `PROCESS_TTL_MS`; False when fenced or expired: take a new epoch."""
        ...

    async def drain_process(self, slot: int, epoch: int) -> None:
        """Say that this process takes no new work."""
        ...

    async def close_process(self, slot: int, epoch: int) -> None:
        """Leave: leases go back; open claims stay and are settled by whoever is asked."""
        ...

    async def processes(self) -> list[Process]:
        """Processes that are alive, by slot."""
        ...

    async def reap(self) -> int:
        """Take the leases of processes that died; how many."""
        ...


class Leases(Protocol):
    """Money lent to processes (SPEC 5.1)."""

    async def grant(
        self, account: str, slot: int, *, epoch: int, need: int, processes: int
    ) -> Granted | Shortage | Fenced:
        """Enlarge a lease by `grant_size`; a shortage asks the other processes to give back."""
        ...

    async def give_back(self, account: str, slot: int, *, epoch: int, amount: int) -> None:
        """Return what is free of a lease; nothing where the lease is gone."""
        ...

    async def recalls(self, slot: int, epoch: int) -> list[str]:
        """Accounts of our leases that another process ran short of."""
        ...


class Allowances(Protocol):
    """What keys may use, lent to processes as money is (SPEC 5.7)."""

    async def ration(
        self, key: str, slot: int, *, epoch: int, needs: Amounts, processes: int
    ) -> Rationed | Fenced:
        """Enlarge a key's allowances, all or none; a shortage asks others to return theirs."""
        ...

    async def return_allowance(
        self, key: str, slot: int, *, kind: str, term: int, amount: int
    ) -> None:
        """Return what is free of an allowance; nothing where its term is over."""
        ...

    async def key_recalls(self, slot: int) -> list[str]:
        """Keys of our allowances that another process ran short of."""
        ...

    async def spent(self, key: str, since_day: int) -> int:
        """Nano that a key was billed since a day, with open reserves that no allowance covers."""
        ...


class Claims(Protocol):
    """Requests in flight and their end (SPEC 5.2 to 5.4, 6)."""

    async def claim(
        self, slot: int, epoch: int, batch: Sequence[NewClaim]
    ) -> list[Claimed | Conflict | Fenced]:
        """Commit claims, in order of the batch; survives the death of this process."""
        ...

    async def claim_by_channel(
        self, slot: int, epoch: int, batch: Sequence[ChannelClaim]
    ) -> list[Claimed | Conflict | Fenced | Uncovered]:
        """The same for claims that channels pay: held in the same step as the claim (SPEC 7.6)."""
        ...

    async def retarget(self, batch: Sequence[Attempt]) -> list[bool]:
        """Record further attempts before they are dispatched; False where the claim is settled."""
        ...

    async def settle(self, batch: Sequence[SettlementRow]) -> list[Outcome]:
        """Settle open claims; on stable storage when this returns. Idempotent."""
        ...

    async def record(self, batch: Sequence[VerdictRow]) -> list[Outcome]:
        """Store verdicts on statements that are not billed; the first verdict stays."""
        ...

    async def restore(
        self, batch: Sequence[RestoredClaim]
    ) -> list[Claimed | Conflict | Shortage | Expired]:
        """Insert claims that the database lost, while their reserve can be covered."""
        ...

    async def find_claims(self, cs: Sequence[bytes]) -> dict[bytes, StoredClaim]:
        """Claims by commitment; unknown ones are absent."""
        ...

    async def attempts(self, c: bytes) -> list[Attempt]:
        """Every dispatch of a claim, in order."""
        ...

    async def unsettled_before(self, deadline: int, limit: int) -> list[StoredClaim]:
        """Open claims with an earlier deadline, the most overdue first."""
        ...

    async def overdue(self, slot: int, epoch: int, *, grace_ms: int) -> list[StoredClaim]:
        """Open claims past their deadline that are ours to settle: at most 256.

        Ours are our own and orphans at once, and after `grace_ms` those of a process that lives.
        """
        ...

    async def open_claims(self, slot: int, epoch: int) -> list[StoredClaim]:
        """Open claims of one process."""
        ...

    async def receipts_of(self, c: bytes) -> list[StoredReceipt]:
        """Judged statements of a claim, the earliest first."""
        ...

    async def claims_by_id(self, account: str, request_id: str) -> list[StoredClaim]:
        """The account's claims with this request id."""
        ...


class Credentials(Protocol):
    """What each request must prove; small indexed reads."""

    async def find_key(self, digest: bytes) -> StoredKey | None:
        """The key with this SHA-256, unless it is revoked or expired."""
        ...

    async def bind_payer(self, key: str, account: str) -> str:
        """Bind a payer key to an account on first use; the account it belongs to."""
        ...

    async def bind_retry(self, row: RetryKey) -> RetryKey:
        """Bind an `Idempotency-Key` to a claim on first use; what it stands for."""
        ...

    async def rebind_retry(self, row: RetryKey, *, instead_of: bytes) -> bool:
        """Bind it to another claim than `instead_of`; False when it no longer stands for that."""
        ...


class Audit(Protocol):
    """Queries that must always come out even."""

    async def now_ms(self) -> int:
        """The database's clock."""
        ...

    async def ledger_sum(self) -> int:
        """Sum of all ledger entries: 0."""
        ...

    async def overcommitted(self) -> list[str]:
        """Accounts with posted < live leases + reserves of orphaned open claims: none."""
        ...

    async def unposted(self) -> list[str]:
        """Accounts whose `posted` is not the sum of their ledger entries: none."""
        ...

    async def uneven_channels(self) -> list[str]:
        """Channels whose reserves or balance are not what claims and ledger say: none."""
        ...

    async def billing_gap(self) -> int:
        """Ledger charges less the charges of billed receipts (SPEC 6.9): 0."""
        ...


class Store(Processes, Leases, Allowances, Claims, Credentials, Audit, Protocol):
    """The whole of it."""

    async def close(self) -> None:
        """Finish what was asked and let go of the database."""
        ...
