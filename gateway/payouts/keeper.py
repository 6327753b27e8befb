"""Deposits for owners: their channels are opened, filled and watched on the chain (SPEC 8.4).

Runs where the chain's loop runs, and sends by the gateway's one wallet: what was ordered is kept in
the transaction that puts the order into the outbox, so that nothing is deposited twice.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from bombyx.errors import DepositCap, NotFound
from bombyx.money.channel.addresses import account_of
from bombyx.money.channel.identity import PAYOUT_CHALLENGE_S, Channel, ChannelConfig
from bombyx.money.channel.payout import LEAST_DEPOSIT, deposit_now, deposit_wanted
from bombyx.money.voucher import is_strong_key
from gateway.accounts.audit import record
from gateway.channels.chain.claims import query_id_of
from gateway.channels.chain.outbox import SqlOutbox
from gateway.channels.chain.troubles import Troubles
from gateway.channels.ledger import writing
from gateway.payouts.pace import in_flight, per_minute
from gateway.payouts.repository import Payouts
from gateway.payouts.rows import StoredPayout
from ton.chain.port import ChainClient
from ton.channels import orders
from ton.channels.seen import Seen, look
from ton.codec.cells import raw
from ton.wallet.outbox import State

PREFIX: Final = "payout:"
AT_ONCE: Final = 8
"""Channels that are looked at together; providers set the pace."""
_LOOK: Final = "payout look"
_FORGOTTEN: Final = "payout_forgotten"
_CAPPED: Final = "payout_capped"

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Keeper:
    """Of one wallet on one network: `account` is the wallet's, `key` our key in channels."""

    payouts: Payouts
    chain: ChainClient
    outbox: SqlOutbox
    troubles: Troubles
    engine: AsyncEngine
    account: bytes
    key: bytes
    unix: Callable[[], int]
    salt: Callable[[], int]
    """Draws 64 bits for each new channel."""
    most: int
    """Nano that may lie in channels to one owner, not claimed yet."""

    async def round(self) -> None:
        """Look at every channel, then order the deposits that are wanted."""
        filled = [stored for stored in await self._watch() if stored.live]
        for stored in filled:
            with self.troubles.alone("fill", stored.owner):
                await self._fill(stored)
        waiting = await self.payouts.waiting()
        for owner in waiting:
            with self.troubles.alone("begin", owner):
                await self._begin(owner)
        self.troubles.done_for("fill", {stored.owner for stored in filled})
        self.troubles.done_for("begin", set(waiting))
        self.troubles.only(_CAPPED, {*waiting, *(stored.owner for stored in filled)})
        await self.outbox.again(PREFIX)

    # --- Watching ---

    async def _watch(self) -> list[StoredPayout]:
        known: list[StoredPayout] = []
        while page := await self.payouts.alive(after=known[-1].id if known else ""):
            known += page
        self.troubles.done_for(_LOOK, {one.id for one in known})
        self.troubles.only(_FORGOTTEN, {one.id for one in known})
        watched: list[StoredPayout] = []
        for at in range(0, len(known), AT_ONCE):
            seen = await asyncio.gather(*map(self._look, known[at : at + AT_ONCE]))
            watched += [one for one in seen if one is not None]
        return watched

    async def _look(self, stored: StoredPayout) -> StoredPayout | None:
        with self.troubles.alone(_LOOK, stored.id):
            seen = await look(self.chain, stored.channel)
            return stored if seen is None else await self._take(stored, seen)
        return None

    async def _take(self, stored: StoredPayout, seen: Seen) -> StoredPayout:
        """Write what is new, money first."""
        after = stored
        if seen.deposited > stored.deposited:
            after = await self.payouts.fund(stored.id, seen.deposited)
        if seen.claimed > stored.vouched:
            reason = "the chain has paid more than these books vouched for: they are an old copy"
            self.troubles.tell(_FORGOTTEN, stored.id, reason)
        elif stored.vouched > seen.claimed:
            # What these books vouch for is beyond all that the owner showed the chain.
            self.troubles.over(_FORGOTTEN, stored.id)
        if seen.claimed > stored.claimed:
            after = await self.payouts.claimed(stored.id, seen.claimed)
        if seen.close_at and seen.close_at != stored.close_at:
            after = await self.payouts.close_started(stored.id, seen.close_at)
            _log.warning("payout_closing", channel=stored.id, close_at=seen.close_at)
        if seen.closed:
            after = await self.payouts.closed(stored.id)
            self.troubles.over(_FORGOTTEN, stored.id)
            _log.info("payout_closed", channel=stored.id, claimed_nano=str(seen.claimed))
        return after

    # --- Depositing ---

    async def _fill(self, stored: StoredPayout) -> None:
        """Top up once half of what should be ahead of the bills is used."""
        newest = await self.outbox.newest_to(raw(orders.address_of(stored.channel)))
        if newest is not None and newest.state is State.BOUNCED:
            if stored.ordered > stored.deposited:
                await self.payouts.not_ordered(stored)
                return
        elif stored.ordered > stored.deposited:
            return  # on its way
        amount = await self._amount(stored)
        if not amount:
            return
        order_id = f"{PREFIX}{stored.id}:{stored.ordered + amount}:{self.unix()}"
        # The first one deploys it, however often that takes.
        build = orders.top_up if stored.deposited else orders.open_message
        message = build(stored.channel, amount, query_id=query_id_of(order_id))
        async with writing(self.engine) as connection:
            total = stored.ordered + amount
            if await self.payouts.order_in(connection, stored, ordered=total):
                await self.outbox.put_in(connection, order_id, message)
                _log.info("payout_top_up", channel=stored.id, amount_nano=str(amount))

    async def _begin(self, owner: str) -> None:
        """A channel for an owner who is owed enough, where there is an address and a key."""
        channel = await self._new_channel(owner)
        amount = 0 if channel is None else await self._amount(StoredPayout(owner, channel))
        if channel is not None and amount:
            await self._open(owner, channel, amount)

    async def begin_now(self, owner: str, *, actor: str) -> None:
        """The same with the least deposit, however little is owed; one that is there is enough.

        Raises `NotFound` for an owner whom no channel can pay, and `DepositCap`.
        """
        channel = await self._new_channel(owner)
        if channel is None:
            raise NotFound("no worker of this owner named an address and a key for channels")
        if await self.payouts.is_paid(owner):
            return
        if self.most - await self.payouts.locked(owner) < LEAST_DEPOSIT:
            raise DepositCap("this owner's channels hold max_payout_deposit_nano already")
        await self._open(owner, channel, LEAST_DEPOSIT, actor=actor)

    async def _new_channel(self, owner: str) -> Channel | None:
        payee, key = account_of(owner), await self.payouts.key_of(owner)
        if payee is None or key is None or not is_strong_key(key):
            return None
        return self._channel(payee, key)

    async def _open(self, owner: str, channel: Channel, amount: int, *, actor: str = "") -> None:
        """`actor` where a person wanted it."""
        order_id = f"{PREFIX}{channel.account.hex()}:{amount}:{self.unix()}"
        message = orders.open_message(channel, amount, query_id=query_id_of(order_id))
        async with writing(self.engine) as connection:
            if await self.payouts.begin_in(connection, owner, channel, ordered=amount):
                await self.outbox.put_in(connection, order_id, message)
                if actor:
                    await record(
                        connection, actor, "payout.open", target=owner, amount_nano=str(amount)
                    )
                _log.info("payout_opened", channel=channel.account.hex(), amount_nano=str(amount))

    async def _amount(self, stored: StoredPayout) -> int:
        """What to deposit now, by what was billed, earned of late and runs."""
        owner = stored.owner
        owed = stored.owed(
            await self.payouts.unpaid(owner), in_flight=await in_flight(self.engine, owner)
        )
        wanted = deposit_wanted(owed, per_minute=await per_minute(self.engine, owner))
        room = self.most - await self.payouts.locked(owner)
        amount = deposit_now(owed, stored.ordered, wanted=wanted, room=room)
        if amount < deposit_now(owed, stored.ordered, wanted=wanted, room=wanted + self.most):
            reason = "this owner's channels hold max_payout_deposit_nano that is not claimed yet"
            self.troubles.tell(_CAPPED, owner, reason)
        else:
            self.troubles.over(_CAPPED, owner)
        return amount

    def _channel(self, payee: bytes, key: bytes) -> Channel:
        config = ChannelConfig(
            client=self.account,
            gateway=payee,
            client_key=self.key,
            gateway_key=key,
            challenge_period=PAYOUT_CHALLENGE_S,
            salt=self.salt(),
        )
        return Channel(self.payouts.network, config)
