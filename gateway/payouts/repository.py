"""Rows of payout channels, moved by `bombyx.money.channel.payout` (SPEC 8).

Each method is one transaction: lock the row and the ledger accounts, ask the rule, write what
differs. What was billed to an owner is what was vouched and what lies on the owner's account. All
are idempotent: chain and workers may tell everything twice and out of order.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import ColumnElement, func, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bombyx.errors import ChannelNotFound, ChannelNotOurs
from bombyx.money.channel import payout
from bombyx.money.channel.identity import Channel
from bombyx.money.channel.payout import UNSECURED_CREDIT
from bombyx.money.channel.terms import Ceiling
from bombyx.units import MAX_NANO
from gateway.accounts.audit import record
from gateway.accounts.repository import ensure_issuance
from gateway.channels.ledger import ensure_account, move, writing
from gateway.channels.rows import chain_account, config_values
from gateway.database import now_ms
from gateway.metering.rows import ISSUANCE_ACCOUNT as ISSUANCE
from gateway.metering.rows import WORKER_PREFIX
from gateway.models import account, payee
from gateway.models import payout_channel as table
from gateway.payouts.rows import (
    COLUMNS,
    STATE_COLUMNS,
    UNEVEN_PAYOUTS,
    StoredPayout,
    owner_account,
    payout_account,
    stored_payout,
)

_MEET: Final = text(
    "INSERT INTO payee (worker, owner, key, at) VALUES (:worker, :owner, :key, :at) "
    "ON CONFLICT (worker) DO UPDATE SET owner = excluded.owner, key = excluded.key, "
    "at = excluded.at"
)


class Payouts:
    """Channels of one network by which this gateway pays."""

    def __init__(self, engine: AsyncEngine, *, network: int, actor: str = "chain") -> None:
        self._engine = engine
        self._actor = actor
        self.network = network

    # --- Reading ---

    async def alive(self, *, after: str = "", limit: int = 1_000) -> Sequence[StoredPayout]:
        """Channels that are no tombstones, by id, a page at a time."""
        mine = ~table.c.closed & (table.c.id > after) & (table.c.network == self.network)
        query = _select(mine).order_by(table.c.id).limit(limit)
        async with self._engine.connect() as connection:
            return [stored_payout(row) for row in await connection.execute(query)]

    async def payable(self, owners: Collection[str]) -> list[str]:
        """Which of these owners a new voucher would bring something."""
        earned = account.c.id == (literal(WORKER_PREFIX) + table.c.owner)
        query = (
            select(table.c.owner)
            .join(account, earned)
            .where(
                table.c.live,
                table.c.network == self.network,
                table.c.owner.in_(list(owners)),
                table.c.deposited > table.c.vouched,
                account.c.posted > 0,
            )
        )
        async with self._engine.connect() as connection:
            return [str(row[0]) for row in await connection.execute(query)]

    async def unpaid(self, owner: str) -> int:
        """What an owner earned and no voucher names."""
        async with self._engine.connect() as connection:
            return await _posted(connection, owner_account(owner))

    async def locked(self, owner: str) -> int:
        """What was ordered into an owner's channels and neither claimed nor given back."""
        query = select(func.coalesce(func.sum(table.c.ordered - table.c.claimed), 0)).where(
            table.c.owner == owner, table.c.network == self.network, ~table.c.closed
        )
        async with self._engine.connect() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def is_paid(self, owner: str) -> bool:
        """Whether an owner has a channel that pays."""
        async with self._engine.connect() as connection:
            return await _find(connection, self._is_live(owner)) is not None

    async def waiting(self) -> list[str]:
        """Owners who are owed enough for a channel, named a key, and have none."""
        has_one = (
            select(table.c.id)
            .where(table.c.live, table.c.network == self.network, table.c.owner == payee.c.owner)
            .exists()
        )
        query = (
            select(payee.c.owner)
            .distinct()
            .join(account, account.c.id == (literal(WORKER_PREFIX) + payee.c.owner))
            .where(account.c.posted >= UNSECURED_CREDIT, ~has_one)
        )
        async with self._engine.connect() as connection:
            return [str(row[0]) for row in await connection.execute(query)]

    # --- Owners ---

    async def meet(self, worker: str, owner: str, key: bytes) -> None:
        """A worker said whose it is, and the owner's key for new channels."""
        async with writing(self._engine) as connection:
            at = (await connection.execute(select(now_ms(connection)))).scalar_one()
            values = {"worker": worker, "owner": owner, "key": key, "at": at}
            await connection.execute(_MEET, values)

    async def key_of(self, owner: str) -> bytes | None:
        """The key that one of an owner's workers named last."""
        query = select(payee.c.key).where(payee.c.owner == owner).order_by(payee.c.at.desc())
        async with self._engine.connect() as connection:
            found = (await connection.execute(query.limit(1))).scalar()
        return None if found is None else bytes(found)

    # --- Vouchers ---

    async def vouch(self, owner: str) -> StoredPayout | None:
        """The owner's channel with all vouched that is billed and deposited, saved (SPEC 8.2).

        Its `vouched` may be signed now. None without a live channel.
        """
        async with writing(self._engine) as connection:
            before = await _find(connection, self._is_live(owner))
            if before is None:
                return None
            unpaid = await _unpaid(connection, before)
            after = payout.vouched(before.owed(unpaid)).vouched
            return await self._raise(connection, before, after, unpaid=unpaid)

    async def adopt(self, owner: str, channel: Channel, held: Ceiling) -> StoredPayout:
        """A worker shows a voucher that we signed, of a channel that is ours (SPEC 8.1).

        Raises `ChannelNotOurs` where these books know the channel as another owner's.
        """
        async with writing(self._engine) as connection:
            before = await self._known(connection, owner, channel)
            if before.owner != owner:
                raise ChannelNotOurs("the channel is another owner's")
            unpaid = await _unpaid(connection, before)
            after = payout.adopted(before.owed(unpaid), held).vouched
            return await self._raise(connection, before, after, unpaid=unpaid)

    async def _known(
        self, connection: AsyncConnection, owner: str, channel: Channel
    ) -> StoredPayout:
        where = table.c.id == channel.account.hex()
        found = await _find(connection, where)
        if found is None:
            # Forgotten by books that are an old copy; they may have begun another one since.
            await self._insert(connection, StoredPayout(owner, channel))
            found = await _find(connection, where)
        if found is None:
            await self._insert(connection, StoredPayout(owner, channel, live=False))
            found = await _find(connection, where)
        if found is None:
            raise ChannelNotFound("the channel cannot be kept")
        return found

    async def _raise(
        self, connection: AsyncConnection, before: StoredPayout, to: int, *, unpaid: int
    ) -> StoredPayout:
        """Vouch for so much in all; what nobody remembers to have billed comes from nowhere."""
        rise = to - before.vouched
        earned = min(rise, unpaid)
        # Totals only grow, so that each names one rise.
        txn = f"voucher:{self.network}:{before.id}:{to}"
        if earned:
            await _book(connection, owner_account(before.owner), before, earned, txn)
        if rise > earned:
            await ensure_issuance(connection)
            await _book(connection, ISSUANCE, before, rise - earned, f"{txn}:adopted")
            await record(
                connection, self._actor, "payout.adopt", target=before.id,
                vouched_nano=str(to), forgotten_nano=str(rise - earned),
            )  # fmt: skip
        return await _save(connection, before, replace(before, vouched=to))

    # --- What our wallet was told ---

    async def begin_in(
        self, connection: AsyncConnection, owner: str, channel: Channel, *, ordered: int
    ) -> bool:
        """Keep a new channel for an owner who has none; False where another process was faster."""
        return await self._insert(connection, StoredPayout(owner, channel, ordered=ordered))

    async def order_in(
        self, connection: AsyncConnection, before: StoredPayout, *, ordered: int
    ) -> bool:
        """Keep that so much in all was ordered; False where another process was faster."""
        same = (table.c.id == before.id) & table.c.live & (table.c.ordered == before.ordered)
        done = await connection.execute(update(table).where(same).values(ordered=ordered))
        return bool(done.rowcount)

    async def not_ordered(self, before: StoredPayout) -> None:
        """A deposit came back: what is there counts, and may be ordered again."""
        async with writing(self._engine) as connection:
            await self.order_in(connection, before, ordered=before.deposited)

    # --- What the chain says ---

    async def fund(self, channel_id: str, deposited: int) -> StoredPayout:
        """The chain finally holds so much in all."""
        async with writing(self._engine) as connection:
            before = await _locked(connection, channel_id)
            total = payout.funded(before.owed(0), min(deposited, MAX_NANO)).deposited
            after = replace(before, deposited=total, ordered=max(before.ordered, total))
            return await _save(connection, before, after)

    async def claimed(self, channel_id: str, total: int) -> StoredPayout:
        """The chain has paid the owner so much in all.

        More than these books vouched for is proof that we signed it: they are an old copy.
        """
        async with writing(self._engine) as connection:
            before = await _locked(connection, channel_id)
            unpaid = await _unpaid(connection, before)
            known = payout.adopted(before.owed(unpaid), Ceiling(total)).vouched
            vouched = await self._raise(connection, before, known, unpaid=unpaid)
            more = total - vouched.claimed
            if more <= 0:
                return vouched
            payer, to = payout_account(channel_id), chain_account(self.network)
            for one in sorted((payer, to)):
                await ensure_account(connection, one)
            txn = f"payout:{self.network}:{channel_id}:{total}"
            await move(connection, payer, to, amount=more, kind="payout", txn=txn, ref=channel_id)
            return await _save(connection, vouched, replace(vouched, claimed=total))

    async def close_started(self, channel_id: str, close_at: int) -> StoredPayout:
        """It is being closed: nothing more is vouched for in it."""
        async with writing(self._engine) as connection:
            before = await _locked(connection, channel_id)
            return await _save(connection, before, replace(before, close_at=close_at, live=False))

    async def closed(self, channel_id: str) -> StoredPayout:
        """It is a tombstone."""
        async with writing(self._engine) as connection:
            before = await _locked(connection, channel_id)
            return await _save(connection, before, replace(before, closed=True, live=False))

    def _is_live(self, owner: str) -> ColumnElement[bool]:
        return (table.c.owner == owner) & (table.c.network == self.network) & table.c.live

    async def _insert(self, connection: AsyncConnection, stored: StoredPayout) -> bool:
        at = (await connection.execute(select(now_ms(connection)))).scalar_one()
        state = {name: getattr(stored, name) for name in STATE_COLUMNS}
        values = {
            "id": stored.id,
            "network": stored.channel.network,
            "owner": stored.owner,
            "created_at": at,
            **config_values(stored.channel.config),
            **state,
        }
        names = ", ".join(values)
        places = ", ".join(f":{name}" for name in values)
        statement = f"INSERT INTO payout_channel ({names}) VALUES ({places}) ON CONFLICT DO NOTHING"  # noqa: S608 - our own names
        return bool((await connection.execute(text(statement), values)).rowcount)


async def uneven_payouts(engine: AsyncEngine) -> list[str]:
    """Channels whose ledger account does not hold what is vouched and not claimed."""
    async with engine.connect() as connection:
        return [str(row[0]) for row in await connection.exec_driver_sql(UNEVEN_PAYOUTS)]


def _select(where: ColumnElement[bool]) -> Any:
    return select(*(table.c[name] for name in COLUMNS)).where(where)


async def _find(connection: AsyncConnection, where: ColumnElement[bool]) -> StoredPayout | None:
    """It stays locked until the transaction ends."""
    query = _select(where).with_for_update(key_share=True)
    return next((stored_payout(row) for row in await connection.execute(query)), None)


async def _locked(connection: AsyncConnection, channel_id: str) -> StoredPayout:
    found = await _find(connection, table.c.id == channel_id)
    if found is None:
        raise ChannelNotFound("there is no such payout channel here", param="channel")
    return found


async def _book(
    connection: AsyncConnection, payer: str, stored: StoredPayout, amount: int, txn: str
) -> None:
    to = payout_account(stored.id)
    await ensure_account(connection, to)
    await move(connection, payer, to, amount=amount, kind="voucher", txn=txn, ref=stored.id)


async def _posted(connection: AsyncConnection, account_id: str) -> int:
    query = select(account.c.posted).where(account.c.id == account_id)
    return int((await connection.execute(query)).scalar() or 0)


async def _unpaid(connection: AsyncConnection, stored: StoredPayout) -> int:
    """What lies on the owner's account, which is locked with the others that may be written."""
    touched = [ISSUANCE, owner_account(stored.owner), payout_account(stored.id)]
    query = select(account.c.id).where(account.c.id.in_(touched)).order_by(account.c.id)
    await connection.execute(query.with_for_update(key_share=True))
    return await _posted(connection, owner_account(stored.owner))


async def _save(
    connection: AsyncConnection, before: StoredPayout, after: StoredPayout
) -> StoredPayout:
    """Write what differs."""
    changed = {
        name: getattr(after, name)
        for name in STATE_COLUMNS
        if getattr(after, name) != getattr(before, name)
    }
    if changed:
        await connection.execute(update(table).where(table.c.id == before.id).values(**changed))
    return after
