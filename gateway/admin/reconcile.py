"""The proof that ledger and receipts say the same (SPEC 6.9), read from nothing but the database.

Three arguments, each over all rows: (1) every charge of the ledger is that of exactly one billed
receipt, and the other way round; (2) every billed receipt is signed by a worker whose keyset is
archived, and its statement says what the row says; (3) every transaction sums to zero, balances are
the sums of their entries, rows of channels what claims and entries make of them, and usage by day
is the sum of the charges.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bombyx import canonical
from bombyx.attestation.keyset import Keyset
from bombyx.errors import BombyxError
from bombyx.money.receipt import Receipt, verify_receipt
from gateway.metering.queries import UNEVEN_CHANNELS
from gateway.models import account, keyset, ledger_entry, receipt, usage_day
from gateway.payouts.rows import UNEVEN_PAYOUTS

MAX_NAMED = 20
"""Differences that are named one by one; the rest is counted."""
BATCH = 512


@dataclass(slots=True)
class Reconciled:
    """What was compared, and what differs."""

    receipts: int = 0
    charged_nano: int = 0
    entries: int = 0
    differences: list[str] = field(default_factory=list)
    count: int = 0

    @property
    def even(self) -> bool:
        """Whether nothing differs."""
        return self.count == 0

    def differs(self, what: str) -> None:
        """Note a difference."""
        self.count += 1
        if len(self.differences) < MAX_NAMED:
            self.differences.append(what)


async def reconcile(engine: AsyncEngine) -> Reconciled:
    """Compare everything; takes some 100 µs a receipt, since each signature is verified."""
    found = Reconciled()
    async with engine.connect() as connection:
        # One moment for all questions: gateways may settle meanwhile.
        if connection.dialect.name == "postgresql":
            await connection.execution_options(isolation_level="REPEATABLE READ")
        else:
            await connection.exec_driver_sql("BEGIN")
        charges = await _charges(connection, found)
        await _receipts(connection, found, charges)
        for txn in charges:
            found.differs(f"the charge of {txn} has no billed receipt")
        await _sums(connection, found)
    return found


async def _charges(connection: AsyncConnection, found: Reconciled) -> dict[str, tuple[int, str]]:
    """Charge and statement hash by transaction: a transaction has at most one."""
    charges: dict[str, tuple[int, str]] = {}
    columns = ledger_entry.c
    query = select(columns.txn, columns.amount_nano, columns.ref).where(columns.kind == "charge")
    async for txn, amount, ref in _stream(connection, query):
        found.entries += 1
        if txn in charges:
            found.differs(f"{txn} is charged twice")
        charges[txn] = (-amount, ref)
    return charges


async def _receipts(
    connection: AsyncConnection, found: Reconciled, charges: dict[str, tuple[int, str]]
) -> None:
    """Take each billed receipt's charge off `charges`; what then is left has no receipt."""
    keys = {
        worker: canonical.decode(document, Keyset).receipt_key
        for worker, document in await connection.execute(select(keyset.c.worker, keyset.c.document))
    }
    columns = receipt.c
    query = select(
        columns.c, columns.statement_hash, columns.worker, columns.charge_nano, columns.document
    ).where(columns.disposition == "billed")
    async for c, hashed, worker, charge, document in _stream(connection, query):
        found.receipts += 1
        found.charged_nano += charge
        txn = c.hex()
        booked = charges.pop(txn, None)
        # A request that cost nothing leaves a receipt and no entry.
        if (booked or (0, hashed.hex())) != (charge, hashed.hex()):
            found.differs(f"the ledger's charge of {txn} is not its receipt's")
        reason = _wrong(document, hashed, txn, charge=charge, key=keys.get(worker))
        if reason is not None:
            found.differs(f"the receipt of {txn} {reason}")


def _wrong(document: bytes, hashed: bytes, c: str, *, charge: int, key: str | None) -> str | None:
    """Why a receipt does not prove its row; None when it does."""
    if key is None:
        return "is of a worker whose keyset is not archived"
    try:
        parsed = canonical.decode(document, Receipt)
        verify_receipt(parsed, bytes.fromhex(key))
    except BombyxError as error:
        return f"does not verify: {error.message}"
    statement = parsed.statement
    if canonical.digest(statement) != hashed:
        return "is stored under another statement's hash"
    if (statement.c, int(statement.charge_nano)) != (c, charge):
        return "says another charge or request than the row"
    return None


async def _sums(connection: AsyncConnection, found: Reconciled) -> None:
    columns = ledger_entry.c
    total = func.sum(columns.amount_nano)
    lopsided = select(columns.txn).group_by(columns.txn).having(total != 0)
    async for (txn,) in _stream(connection, lopsided):
        found.differs(f"the entries of {txn} do not sum to zero")
    booked = select(columns.account, total.label("total")).group_by(columns.account).subquery()
    unlike = (
        select(account.c.id)
        .select_from(account.outerjoin(booked, booked.c.account == account.c.id))
        .where(account.c.posted != func.coalesce(booked.c.total, 0))
    )
    async for (name,) in _stream(connection, unlike):
        found.differs(f"the balance of {name} is not the sum of its entries")
    for (name,) in await connection.exec_driver_sql(UNEVEN_CHANNELS):
        found.differs(f"the row of channel {name} is not what its claims and entries say")
    for (name,) in await connection.exec_driver_sql(UNEVEN_PAYOUTS):
        found.differs(f"the row of payout channel {name} is not what its entries say")
    counted = (await connection.execute(select(func.sum(usage_day.c.charge_nano)))).scalar()
    # Usage is counted from the version on that has it; what is older stands in the ledger alone.
    if int(counted or 0) > found.charged_nano:
        found.differs("usage by day counts more than was charged")


async def _stream(connection: AsyncConnection, query: Select[Any]) -> AsyncIterator[Any]:
    result = await connection.stream(query.execution_options(yield_per=BATCH))
    async for row in result:
        yield row
