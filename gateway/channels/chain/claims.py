"""Claims by themselves: when one is worth its gas, or a close leaves no more time (SPEC 9.6).

Always what was charged, never the ceiling. An order that left is not repeated while its effect may
still show; what the chain has paid is the only proof that it did. Each order is put in the
transaction that has the channel's row, so that a close and a claim never pass each other.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from bombyx.errors import ChannelClosed, ChannelRolledBack
from bombyx.money.channel import acceptance
from bombyx.money.channel.acceptance import ChannelRow
from bombyx.money.channel.closing import claim_due
from gateway.accounts.audit import record
from gateway.channels.chain.outbox import SqlOutbox
from gateway.channels.chain.troubles import Troubles
from gateway.channels.chain.watcher import Watched
from gateway.channels.repository import Channels
from gateway.channels.rows import StoredChannel
from gateway.channels.treasury import Ordered
from ton.channels import orders
from ton.channels.costs import claim_cost
from ton.codec.cells import raw
from ton.wallet.outbox import Order, State

MAX_TRIES: Final = 3
"""Orders of one total that the chain may refuse before a person has to look, who may try again."""
FAILED: Final = "claim_failed"
_CLAIM: Final = "claim"
_CLOSE: Final = "close"
_WAITS: Final = frozenset({State.QUEUED, State.SIGNED})
_BUILD: Final = {_CLAIM: orders.claim, _CLOSE: orders.gateway_close}


class Claims:
    """Puts orders into the outbox; the wallet sends them together."""

    def __init__(
        self,
        outbox: SqlOutbox,
        troubles: Troubles,
        channels: Channels,
        *,
        unix: Callable[[], int],
    ) -> None:
        self._outbox = outbox
        self._troubles = troubles
        self._channels = channels
        self._unix = unix
        self._refused: dict[tuple[str, str], int] = {}
        """What the chain refused too often, by channel and kind: the total."""

    async def consider(self, watched: Sequence[Watched]) -> int:
        """Order what is due, ends and closing channels first; how many."""
        ordered = 0
        ends = [one.stored for one in watched if one.stored.row.ending]
        for stored in ends:
            with self._troubles.alone(_CLOSE, stored.id):
                ordered += await self._end_again(stored)
        due = self._due(watched, cost=claim_cost())
        if due:  # together they are cheaper, so that more of them are worth it
            due = self._due(watched, cost=claim_cost(batched=len(due)))
        for stored in sorted(due, key=lambda stored: not stored.row.closing):
            with self._troubles.alone(_CLAIM, stored.id):
                ordered += await self._claim(stored.id)
        self._troubles.done_for(_CLOSE, {stored.id for stored in ends})
        self._troubles.done_for(_CLAIM, {stored.id for stored in due})
        await self._forgive(watched)
        return ordered

    def _due(self, watched: Sequence[Watched], *, cost: int) -> list[StoredChannel]:
        found = []
        for one in watched:
            row, config = one.stored.row, one.stored.channel.config
            # Of two clocks the later one: a claim may be early, never late.
            now = max(one.seen.at, self._unix())
            try:
                total = claim_due(row, cost=cost, period=config.challenge_period, now=now)
            except ChannelRolledBack:
                continue  # told by the watcher
            if total is not None:
                found.append(one.stored)
        return found

    async def _claim(self, channel_id: str) -> bool:
        async with self._channels.held(channel_id) as (connection, stored):
            if stored.row.closed or stored.row.halted:
                return False  # since it was looked at
            return await self._claim_in(connection, stored, asked=False) == "ordered"

    async def claim_now(self, channel_id: str, *, actor: str) -> Ordered:
        """Order a claim of what was charged, whatever it costs, for an administrator.

        One that the chain refused too often is tried again. Raises `ChannelNotFound`,
        `ChannelClosed`, `ChannelRolledBack`.
        """
        async with self._channels.held(channel_id) as (connection, stored):
            if stored.row.closed:
                raise ChannelClosed("this channel is closed: what it was charged is claimed")
            if stored.row.halted:
                raise ChannelRolledBack("this channel waits for its operator")
            done = await self._claim_in(connection, stored, asked=True)
            if done == "ordered":
                await record(
                    connection, actor, "channel.claim", target=channel_id,
                    charged_nano=str(stored.row.charged),
                )  # fmt: skip
            return done

    async def _claim_in(
        self, connection: AsyncConnection, stored: StoredChannel, *, asked: bool
    ) -> Ordered:
        if not stored.row.unclaimed:
            return "nothing"
        if _is_under_way(await self._newest(connection, stored), stored.row):
            return "under_way"
        return await self._put(connection, stored, _CLAIM, asked=asked)

    async def close(self, channel_id: str) -> Ordered:
        """End a channel at once with a last claim, whose rest goes back to its client (SPEC 9.3).

        It takes no more requests already: see `Channels.end_asked`. Raises `ChannelNotFound` and
        what `acceptance.check_end` does.
        """
        async with self._channels.held(channel_id) as (connection, stored):
            acceptance.check_end(stored.row)
            return await self._close_in(connection, stored, asked=True)

    async def _end_again(self, stored: StoredChannel) -> bool:
        """What a person wanted ended: over what is charged by now, once nothing runs any more."""
        if stored.row.closed or stored.row.halted:
            return False
        await self._withdraw_stale(stored)
        async with self._channels.held(stored.id) as (connection, now):
            if now.row.closed or now.row.halted or now.row.reserved:
                return False
            return await self._close_in(connection, now, asked=False) == "ordered"

    async def _withdraw_stale(self, stored: StoredChannel) -> None:
        """A lost request that came back may cost more than the queued close would bring."""
        newest = await self._outbox.newest_to(_place(stored))
        if newest is None or newest.state is not State.QUEUED or _kind(newest) != _CLOSE:
            return
        if stored.row.reserved or _total(newest) != stored.row.charged:
            await self._outbox.withdraw(newest.id)

    async def _close_in(
        self, connection: AsyncConnection, stored: StoredChannel, *, asked: bool
    ) -> Ordered:
        newest = await self._newest(connection, stored)
        # A claim on its way is no hindrance: it goes first.
        if newest is not None and _kind(newest) == _CLOSE and _is_under_way(newest, stored.row):
            return "under_way"
        return await self._put(connection, stored, _CLOSE, asked=asked)

    async def _put(
        self, connection: AsyncConnection, stored: StoredChannel, kind: str, *, asked: bool
    ) -> Ordered:
        total, tries = stored.row.charged, 0
        while await self._outbox.get_in(connection, _id(kind, stored, tries)) is not None:
            tries += 1
        if tries and tries % MAX_TRIES == 0 and not asked:
            self._refused[stored.id, kind] = total
            self._troubles.tell(FAILED, stored.id, f"the chain refuses our {kind}s")
            return "nothing"
        order_id = _id(kind, stored, tries)
        ceiling, query_id = stored.row.ceiling, query_id_of(order_id)
        message = _BUILD[kind](stored.channel, total, ceiling=ceiling, query_id=query_id)
        await self._outbox.put_in(connection, order_id, message)
        return "ordered"

    async def _newest(self, connection: AsyncConnection, stored: StoredChannel) -> Order | None:
        return await self._outbox.newest_in(connection, _place(stored))

    async def _forgive(self, watched: Sequence[Watched]) -> None:
        """What the chain has taken after all is no trouble any more."""
        rows = {one.stored.id: one.stored.row for one in watched}
        for (channel_id, kind), total in list(self._refused.items()):
            # Tombstones are not watched.
            row = rows.get(channel_id) or (await self._channels.row(channel_id)).row
            if row.closed or (kind == _CLAIM and row.claimed >= total):
                del self._refused[channel_id, kind]
                if not any(known == channel_id for known, _ in self._refused):
                    self._troubles.over(FAILED, channel_id)


def query_id_of(order_id: str) -> int:
    """A query id of its own for each order, by which money that comes back is known."""
    return int.from_bytes(hashlib.sha256(order_id.encode()).digest()[:8])


def _id(kind: str, stored: StoredChannel, tries: int) -> str:
    return f"{kind}:{stored.id}:{stored.row.charged}:{tries}"


def _kind(order: Order) -> str:
    return order.id.partition(":")[0]


def _total(order: Order) -> int:
    return int(order.id.split(":")[2])


def _place(stored: StoredChannel) -> str:
    return raw(orders.address_of(stored.channel))


def _is_under_way(newest: Order | None, row: ChannelRow) -> bool:
    """Whether what was ordered last may still have its effect; a close may until it is seen."""
    if newest is None:
        return False
    if newest.state is State.SENT:
        kind = _kind(newest)
        return kind == _CLOSE or (kind == _CLAIM and _total(newest) > row.claimed)
    return newest.state in _WAITS
