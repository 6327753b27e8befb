"""Money that comes from a chain or goes there, as two entries of the ledger (SPEC 5.4).

Each has a `txn` that only this event of the chain has, so that nothing is booked twice, however
often and by however many processes it is seen.
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Literal, TypeAlias

from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bombyx.errors import ChannelBooks
from gateway.channels.rows import CHAIN_PREFIX, PAYOUT_PREFIX
from gateway.database import now_ms
from gateway.models import account, ledger_entry

Kind: TypeAlias = Literal["credit", "deposit", "payback", "withdrawal", "voucher", "payout"]
MAX_ON_CHAIN = 8 * 10**18
"""Nano of one network that may be here: more than there is, and it still fits 64 bits."""

_ENSURE = text(
    "INSERT INTO account (id, kind, name, created_at) "
    "VALUES (:id, :kind, :id, :at) ON CONFLICT DO NOTHING"
)


async def ensure_account(connection: AsyncConnection, account_id: str) -> None:
    """The ledger account of a channel, in or out, or of a network."""
    kinds = {CHAIN_PREFIX: "chain", PAYOUT_PREFIX: "payout"}
    prefix = account_id.partition(":")[0] + ":"
    kind = kinds.get(prefix, "channel")
    at = (await connection.execute(select(now_ms(connection)))).scalar_one()
    await connection.execute(_ENSURE, {"id": account_id, "kind": kind, "at": at})


async def move(
    connection: AsyncConnection,
    payer: str,
    payee: str,
    *,
    amount: int,
    kind: Kind,
    txn: str,
    ref: str,
) -> bool:
    """Book `amount` nano from one account to another; False where `txn` was booked before.

    Both accounts exist; the connection is one of `writing`. They are locked in ascending order of
    ids, as everywhere. Raises `ChannelBooks` for an amount that cannot be, and the database's own
    error where the payer lacks it.
    """
    if amount <= 0:
        raise ChannelBooks("what is booked is more than nothing")
    sides = sorted([(payer, -amount), (payee, amount)])
    await connection.execute(
        select(account.c.id)
        .where(account.c.id.in_([target for target, _ in sides]))
        .order_by(account.c.id)
        .with_for_update(key_share=True)
    )
    booked = select(ledger_entry.c.id).where(
        ledger_entry.c.txn == txn, ledger_entry.c.account == payee, ledger_entry.c.kind == kind
    )
    if (await connection.execute(booked)).first() is not None:
        return False
    at = (await connection.execute(select(now_ms(connection)))).scalar_one()
    for target, delta in sides:
        posted = account.c.posted + delta
        fits = posted.between(-MAX_ON_CHAIN, MAX_ON_CHAIN)
        done = await connection.execute(
            update(account).where(account.c.id == target, fits).values(posted=posted)
        )
        if not done.rowcount:
            raise ChannelBooks("that is more money than there can be")
        entry = {"account": target, "amount_nano": delta, "kind": kind, "txn": txn, "ref": ref}
        await connection.execute(insert(ledger_entry).values(**entry, at=at))
    return True


@contextlib.asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that reads before it writes: SQLite's writer must be taken at once."""
    async with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection
