"""Rows of channels, moved by the pure rules alone (SPEC 7.5 to 9.6): rare, whole, audited.

Each method is one transaction: lock the row, ask `bombyx.money.channel.acceptance` for the next
one, write what differs. Reserves and settlements are `gateway.metering`'s, in the transactions of
their claims. All are idempotent: the watcher may tell everything twice and out of order.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bombyx.errors import ChannelNotFound, ChannelNotOurs, CloseInFlight
from bombyx.money.channel import acceptance
from bombyx.money.channel.acceptance import ChannelRow
from bombyx.money.channel.identity import Channel
from bombyx.money.channel.terms import Ceiling
from bombyx.units import MAX_NANO
from gateway.accounts.audit import record
from gateway.accounts.repository import ensure_issuance
from gateway.channels.ledger import ensure_account, move, writing
from gateway.channels.rows import (
    CONFIG_COLUMNS,
    STATE_COLUMNS,
    StoredChannel,
    chain_account,
    channel_account,
    channel_of_values,
    config_values,
    state_of_values,
    state_values,
)
from gateway.database import now_ms
from gateway.metering.rows import ISSUANCE_ACCOUNT as ISSUANCE
from gateway.models import account, audit_log
from gateway.models import channel as table

MAX_LISTED = 1_000
"""Channels of one page."""
HALT = "channel.halt"
"""The action in the audit log by which is known since when a channel is halted."""

Step = Callable[[ChannelRow], ChannelRow]


class Channels:
    """Every method takes the channel's 64 hex digits and raises `ChannelNotFound`."""

    def __init__(self, engine: AsyncEngine, actor: str = "chain") -> None:
        self._engine = engine
        self._actor = actor

    # --- Reading ---

    async def row(self, channel_id: str) -> StoredChannel:
        """One channel."""
        found = await self.find(channel_id)
        if found is None:
            raise _unknown()
        return found

    async def find(self, channel_id: str) -> StoredChannel | None:
        """One channel, None where it was never registered."""
        async with self._engine.connect() as connection:
            rows = await connection.execute(_select(table.c.id == channel_id))
            return next((_stored(row) for row in rows), None)

    async def of_account(self, owner: str, *, limit: int = MAX_LISTED) -> Sequence[StoredChannel]:
        """An account's channels, the newest first."""
        query = _select(table.c.owner == owner).order_by(
            table.c.created_at.desc(), table.c.id.desc()
        )
        return await self._many(query.limit(limit))

    async def open_channels(
        self, *, after: str = "", limit: int = MAX_LISTED
    ) -> Sequence[StoredChannel]:
        """Channels that are no tombstones, by id, a page at a time; closing and halted ones too."""
        query = _select(~table.c.closed & (table.c.id > after)).order_by(table.c.id)
        return await self._many(query.limit(limit))

    async def _many(self, query: Any) -> Sequence[StoredChannel]:
        async with self._engine.connect() as connection:
            return [_stored(row) for row in await connection.execute(query)]

    # --- Beginning ---

    async def register(self, channel: Channel, owner: str) -> StoredChannel:
        """Take a channel that was admitted, for this account; nothing is deposited yet.

        Again: nothing changes. Raises `ChannelNotOurs` where another account has it.
        """
        channel_id = channel.account.hex()
        async with writing(self._engine) as connection:
            found = await _find(connection, channel_id)
            if found is None:
                await _insert(connection, channel, owner)
                # Another process may have been faster by now: one row, and what it says counts.
                found = await _locked(connection, channel_id)
                await record(connection, owner, "channel.register", target=channel_id)
            if found.owner != owner:
                raise ChannelNotOurs("the channel is another account's")
            return found

    # --- What the chain says ---

    async def fund(self, channel_id: str, deposited: int) -> StoredChannel:
        """The chain finally holds so much in all; what is new is booked as a deposit."""
        async with writing(self._engine) as connection:
            before = await _locked(connection, channel_id)
            # More than amounts can say is not needed to serve anybody.
            after = acceptance.top_up(before.row, min(deposited, MAX_NANO))
            more = after.deposited - before.row.deposited
            if more:
                await self._book_deposit(connection, before, more, after.deposited)
            return await _save(connection, before, after)

    async def _book_deposit(
        self, connection: AsyncConnection, stored: StoredChannel, more: int, total: int
    ) -> None:
        payer, payee = chain_account(stored.channel.network), channel_account(stored.id)
        for one in sorted((payer, payee)):
            await ensure_account(connection, one)
        # Totals only grow, so that each names one rise.
        txn = f"deposit:{stored.channel.network}:{stored.id}:{total}"
        await move(connection, payer, payee, amount=more, kind="deposit", txn=txn, ref=stored.id)

    async def close_started(self, channel_id: str, close_at: int) -> StoredChannel:
        """A StartClose was seen, at any confirmation: no new reserves from here on (SPEC 9.1)."""
        return await self._step(channel_id, lambda row: acceptance.close_started(row, close_at))

    async def claimed(self, channel_id: str, total: int) -> StoredChannel:
        """The chain has paid us so much in all; raises `ChannelRolledBack`, then call that."""
        return await self._step(channel_id, lambda row: acceptance.claimed(row, total))

    async def rolled_back(self, channel_id: str, total: int) -> StoredChannel:
        """It paid more than these books know: nothing more is served, claimed or signed."""
        async with writing(self._engine) as connection:
            before = await _locked(connection, channel_id)
            after = acceptance.rolled_back(before.row, total)
            if not before.row.halted:
                await record(
                    connection, self._actor, HALT, target=channel_id,
                    charged_nano=str(after.charged), claimed_nano=str(after.claimed),
                )  # fmt: skip
            return await _save(connection, before, after)

    async def resumed(
        self, channel_id: str, total: int, *, held: Ceiling, lost_s: int
    ) -> StoredChannel:
        """A person has looked: what the chain paid in all is charged, and the channel serves again.

        What nobody remembers to have charged goes to the operator's `issuance`, whence forgotten
        payouts come. Not before `lost_s` seconds after it halted: until then a worker may bring
        back a request whose price this was, and the client would pay for it twice. Raises what
        `acceptance.resumed` does.
        """
        async with writing(self._engine) as connection:
            before = await _locked(connection, channel_id)
            after = acceptance.resumed(before.row, total, held=held)
            if after == before.row:
                return before
            await _check_waited(connection, channel_id, lost_s)
            forgotten = after.charged - before.row.charged
            if forgotten:
                await self._book_forgotten(connection, before, forgotten, after.charged)
            await record(
                connection, self._actor, "channel.resume", target=channel_id,
                charged_nano=str(after.charged), forgotten_nano=str(forgotten),
            )  # fmt: skip
            return await _save(connection, before, after)

    async def _book_forgotten(
        self, connection: AsyncConnection, stored: StoredChannel, amount: int, total: int
    ) -> None:
        payer = channel_account(stored.id)
        await ensure_issuance(connection)
        # Totals only grow, so that each names one rise.
        txn = f"resume:{stored.channel.network}:{stored.id}:{total}"
        await move(
            connection, payer, ISSUANCE, amount=amount, kind="credit", txn=txn, ref=stored.id
        )

    async def closed(self, channel_id: str) -> StoredChannel:
        """It is a tombstone: never again. What was not charged went back to the client.

        What requests still hold is booked back when this is called again after they settled.
        """
        async with writing(self._engine) as connection:
            before = await _locked(connection, channel_id)
            back = await _unspent(connection, before)
            if back > 0:
                await self._book_payback(connection, before, back)
            return await _save(connection, before, acceptance.closed(before.row))

    async def _book_payback(
        self, connection: AsyncConnection, stored: StoredChannel, back: int
    ) -> None:
        payer, payee = channel_account(stored.id), chain_account(stored.channel.network)
        # Each time there is something to pay back, more was charged or less is held than before.
        state = f"{stored.row.charged}:{stored.row.reserved}"
        txn = f"payback:{stored.channel.network}:{stored.id}:{state}"
        await move(connection, payer, payee, amount=back, kind="payback", txn=txn, ref=stored.id)

    # --- What its client asks ---

    async def close_asked(self, channel_id: str) -> StoredChannel:
        """The client wants terms: no new reserves from here on; raises `ChannelClosed`."""
        return await self._step(channel_id, acceptance.close_asked)

    async def sign_close_terms(
        self, channel_id: str, *, valid_until: int, now: int
    ) -> StoredChannel:
        """Terms over what was charged may be signed now that this is saved (SPEC 9.2).

        Raises what `acceptance.sign_close_terms` does.
        """
        return await self._step(
            channel_id,
            lambda row: acceptance.sign_close_terms(
                row, row.charged, valid_until=valid_until, now=now
            ),
        )

    async def reopened(self, channel_id: str, *, now: int) -> StoredChannel:
        """Nothing came of a close that was only asked for; raises `ChannelClosing`."""
        return await self._step(channel_id, lambda row: acceptance.reopened(row, now=now))

    # --- What its operator asks ---

    async def end_asked(self, channel_id: str, *, actor: str) -> StoredChannel:
        """The operator wants it ended: no new reserves, and its client cannot take that back.

        Raises what `acceptance.end_asked` does.
        """
        async with writing(self._engine) as connection:
            before = await _locked(connection, channel_id)
            after = acceptance.end_asked(before.row)
            if after != before.row:
                await record(
                    connection, actor, "channel.end", target=channel_id,
                    charged_nano=str(after.charged),
                )  # fmt: skip
            return await _save(connection, before, after)

    @contextlib.asynccontextmanager
    async def held(self, channel_id: str) -> AsyncIterator[tuple[AsyncConnection, StoredChannel]]:
        """A transaction that has the row to itself: what is ordered in it is ordered once."""
        async with writing(self._engine) as connection:
            yield connection, await _locked(connection, channel_id)

    async def _step(self, channel_id: str, step: Step) -> StoredChannel:
        async with writing(self._engine) as connection:
            before = await _locked(connection, channel_id)
            return await _save(connection, before, step(before.row))


def _unknown() -> ChannelNotFound:
    return ChannelNotFound("there is no such channel here: register it", param="channel")


_COLUMNS = ("owner", "network", "created_at", *CONFIG_COLUMNS, *STATE_COLUMNS)
_CONFIG_AT = 3
_STATE_AT = _CONFIG_AT + len(CONFIG_COLUMNS)


def _select(where: ColumnElement[bool]) -> Any:
    return select(*(table.c[name] for name in _COLUMNS)).where(where)


def _stored(values: Any) -> StoredChannel:
    owner, network, created_at = values[:_CONFIG_AT]
    channel = channel_of_values(network, values[_CONFIG_AT:_STATE_AT])
    return StoredChannel(owner, channel, state_of_values(values[_STATE_AT:]), created_at)


async def _find(connection: AsyncConnection, channel_id: str) -> StoredChannel | None:
    query = _select(table.c.id == channel_id).with_for_update(key_share=True)
    return next((_stored(row) for row in await connection.execute(query)), None)


async def _locked(connection: AsyncConnection, channel_id: str) -> StoredChannel:
    found = await _find(connection, channel_id)
    if found is None:
        raise _unknown()
    return found


async def _save(
    connection: AsyncConnection, before: StoredChannel, after: ChannelRow
) -> StoredChannel:
    """Write what differs: settlements and reserves may have other columns of the row in mind."""
    old, new = state_values(before.row), state_values(after)
    changed = {name: value for name, value in new.items() if value != old[name]}
    if changed:
        await connection.execute(update(table).where(table.c.id == before.id).values(**changed))
    return StoredChannel(before.owner, before.channel, after, before.created_at)


async def _insert(connection: AsyncConnection, channel: Channel, owner: str) -> None:
    at = (await connection.execute(select(now_ms(connection)))).scalar_one()
    values = {
        "id": channel.account.hex(),
        "network": channel.network,
        "owner": owner,
        "created_at": at,
        **config_values(channel.config),
    }
    names = ", ".join(values)
    places = ", ".join(f":{name}" for name in values)
    statement = f"INSERT INTO channel ({names}) VALUES ({places}) ON CONFLICT DO NOTHING"  # noqa: S608
    await connection.execute(text(statement), values)


async def _check_waited(connection: AsyncConnection, channel_id: str, seconds: int) -> None:
    halts = select(audit_log.c.at).where(
        audit_log.c.target == channel_id, audit_log.c.action == HALT
    )
    halted = (await connection.execute(halts.order_by(audit_log.c.id.desc()).limit(1))).scalar()
    now = (await connection.execute(select(now_ms(connection)))).scalar_one()
    left = 0 if halted is None else halted + seconds * 1000 - now
    if left > 0:
        raise CloseInFlight(
            f"requests from before it halted may come back for {-(-left // 1000)} s yet",
            retry_after_ms=left,
        )


async def _unspent(connection: AsyncConnection, stored: StoredChannel) -> int:
    """What lies on its ledger account and no running request may still cost."""
    query = select(account.c.posted).where(account.c.id == channel_account(stored.id))
    posted = (await connection.execute(query)).scalar() or 0
    return int(posted) - stored.row.reserved
