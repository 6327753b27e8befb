"""Claims by themselves: when one is worth its gas, or a close leaves no more time (SPEC 9.6).

Always what was charged, never the ceiling. An order that left is not repeated while its effect may
still show; what the chain has paid is the only proof that it did.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bombyx.errors import ChannelClosed, ChannelRolledBack, CloseInFlight, CloseNotAsked
from bombyx.money.channel.closing import claim_due
from gateway.channels.chain.outbox import SqlOutbox
from gateway.channels.chain.troubles import Troubles
from gateway.channels.chain.watcher import Watched
from gateway.channels.rows import StoredChannel
from ton.channels import orders
from ton.channels.costs import claim_cost
from ton.codec.cells import raw
from ton.wallet.outbox import Order, State

MAX_TRIES: Final = 3
"""Claims of one total that the chain may refuse before a person has to look."""
_KIND: Final = "claim"
_CLOSE: Final = "close"


@dataclass(frozen=True, slots=True)
class Due:
    """A claim to make: the total that it names."""

    stored: StoredChannel
    total: int


class Claims:
    """Puts orders into the outbox; the wallet sends them together."""

    def __init__(self, outbox: SqlOutbox, troubles: Troubles, *, unix: Callable[[], int]) -> None:
        self._outbox = outbox
        self._troubles = troubles
        self._unix = unix

    async def consider(self, watched: Sequence[Watched]) -> int:
        """Order what is due, closing channels first; how many."""
        due = self._due(watched, cost=claim_cost())
        if due:  # together they are cheaper, so that more of them are worth it
            due = self._due(watched, cost=claim_cost(batched=len(due)))
        ordered = 0
        for one in sorted(due, key=lambda one: not one.stored.row.closing):
            ordered += await self._order(one)
        return ordered

    def _due(self, watched: Sequence[Watched], *, cost: int) -> list[Due]:
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
                found.append(Due(one.stored, total))
        return found

    async def _order(self, due: Due) -> bool:
        channel = due.stored.channel
        newest = await self._outbox.newest_to(raw(orders.address_of(channel)))
        tries = _next_try(newest, due)
        if tries is None:
            return False
        if tries >= MAX_TRIES:
            self._troubles.tell("claim_failed", due.stored.id, "the chain refuses our claims")
            return False
        order_id = f"{_KIND}:{due.stored.id}:{due.total}:{tries}"
        claim = orders.claim(
            channel, due.total, ceiling=due.stored.row.ceiling, query_id=query_id_of(order_id)
        )
        await self._outbox.put(order_id, claim)
        return True

    async def claim_now(self, stored: StoredChannel) -> bool:
        """Order a claim of what was charged, whatever it costs; whether there was one to make.

        Raises `ChannelClosed`, `ChannelRolledBack`.
        """
        row = stored.row
        if row.closed:
            raise ChannelClosed("this channel is closed: what it was charged is claimed")
        if row.halted:
            raise ChannelRolledBack("this channel waits for its operator")
        return row.charged > row.claimed and await self._order(Due(stored, row.charged))

    async def close(self, stored: StoredChannel) -> Order:
        """End a channel at once with a last claim, whose rest goes back to its client (SPEC 9.3).

        It takes no more requests already: see `Channels.close_asked`. Raises `ChannelRolledBack`,
        `CloseInFlight`, `CloseNotAsked`.
        """
        _check_end(stored)
        order_id = f"{_CLOSE}:{stored.id}:{stored.row.charged}"
        last = orders.gateway_close(
            stored.channel,
            stored.row.charged,
            ceiling=stored.row.ceiling,
            query_id=query_id_of(order_id),
        )
        return await self._outbox.put(order_id, last)


def _check_end(stored: StoredChannel) -> None:
    if stored.row.halted:
        raise ChannelRolledBack("this channel waits for its operator")
    if not stored.row.closing:
        raise CloseNotAsked("this channel still takes requests")
    if stored.row.reserved:
        raise CloseInFlight("requests of this channel still run")
    if not stored.row.ceiling.signature:
        raise CloseNotAsked("there is no voucher to end it by: its client alone can close it")


def query_id_of(order_id: str) -> int:
    """A query id of its own for each order, by which money that comes back is known."""
    return int.from_bytes(hashlib.sha256(order_id.encode()).digest()[:8])


def _next_try(newest: Order | None, due: Due) -> int | None:
    """Which try of this total comes next; None while another claim of the channel is on its way."""
    if newest is None:
        return 0
    if newest.state in {State.QUEUED, State.SIGNED}:
        return None
    kind, _, rest = newest.id.partition(":")
    if kind != _KIND:
        return None if newest.state is State.SENT and kind == _CLOSE else 0
    _, total, tries = rest.split(":")
    if newest.state is State.SENT:
        return None if int(total) > due.stored.row.claimed else 0
    return int(tries) + 1 if int(total) == due.total else 0
