"""Each channel that is no tombstone, looked at again and again: what the chain says, goes in.

Deposits count when they are final and agreed on; a close counts at once; what the chain paid is the
only word on what was claimed. Where it paid more than was charged the books are an old copy, and
the channel halts (SPEC 7.7, 9.1).
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from bombyx.errors import ChannelRolledBack
from gateway.channels.chain.troubles import Troubles
from gateway.channels.repository import MAX_LISTED, Channels
from gateway.channels.rows import CHANNEL_PREFIX, StoredChannel
from gateway.models import account
from gateway.models import channel as table
from ton.chain.port import ChainClient
from ton.channels.seen import Seen, look

AT_ONCE: Final = 8
"""Channels that are looked at together; providers set the pace."""
_LOOK: Final = "look"
_GONE: Final = "deposit_gone"
_HALTED: Final = "the chain paid more than these books know of: are they an old copy?"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Watched:
    """A channel in the books, as the chain shows it too."""

    stored: StoredChannel
    seen: Seen


class Watcher:
    """Looks at every channel of one network."""

    def __init__(self, engine: AsyncEngine, chain: ChainClient, troubles: Troubles) -> None:
        self._engine = engine
        self._chain = chain
        self.channels = Channels(engine)
        self._troubles = troubles

    async def round(self) -> list[Watched]:
        """Look at all of them once; those that could not be seen are left out and named."""
        watched: list[Watched] = []
        looked_at: set[str] = set()
        after = ""
        while True:
            page = await self.channels.open_channels(after=after)
            ours = [one for one in page if one.channel.network == self._chain.network]
            for at in range(0, len(ours), AT_ONCE):
                seen = await asyncio.gather(*map(self._look, ours[at : at + AT_ONCE]))
                watched += [one for one in seen if one is not None]
            looked_at.update(one.id for one in ours)
            if len(page) < MAX_LISTED:
                break
            after = page[-1].id
        self._troubles.done_for(_LOOK, looked_at)
        for word in (_GONE, ChannelRolledBack.code):
            self._troubles.only(word, looked_at)
        await self._settle_ended()
        return watched

    async def _look(self, stored: StoredChannel) -> Watched | None:
        with self._troubles.alone(_LOOK, stored.id):
            seen = await look(self._chain, stored.channel)
            if seen is None:
                self._gone(stored)
                return None
            self._troubles.over(_GONE, stored.id)
            stored = await self._take(stored, seen)
            self._tell_halted(stored)
            return Watched(stored, seen)
        return None

    def _gone(self, stored: StoredChannel) -> None:
        if stored.row.deposited:
            self._troubles.tell(_GONE, stored.id, "the chain has no such channel any more")

    def _tell_halted(self, stored: StoredChannel) -> None:
        """For as long as it is; whoever reads it may have started after it was seen first."""
        if stored.row.halted and not stored.row.closed:
            self._troubles.tell(ChannelRolledBack.code, stored.id, _HALTED)
        else:
            self._troubles.over(ChannelRolledBack.code, stored.id)

    async def _take(self, stored: StoredChannel, seen: Seen) -> StoredChannel:
        """Write what is new, money first."""
        row = stored.row
        if seen.deposited > row.deposited:
            stored = await self.channels.fund(stored.id, seen.deposited)
        if seen.close_at and row.close_at != seen.close_at:
            stored = await self.channels.close_started(stored.id, seen.close_at)
        if seen.claimed > row.claimed:
            stored = await self._claimed(stored, seen.claimed)
        if seen.closed:
            stored = await self.channels.closed(stored.id)
            _log.info("channel_closed", channel=stored.id, claimed_nano=str(seen.claimed))
        return stored

    async def _claimed(self, stored: StoredChannel, total: int) -> StoredChannel:
        try:
            return await self.channels.claimed(stored.id, total)
        except ChannelRolledBack:
            return await self.channels.rolled_back(stored.id, total)

    async def _settle_ended(self) -> None:
        """Book back what tombstones' requests held when they ended, once they have settled."""
        query = (
            select(table.c.id)
            .join(account, account.c.id == CHANNEL_PREFIX + table.c.id)
            .where(table.c.closed, account.c.posted > table.c.reserved)
            .limit(MAX_LISTED)
        )
        async with self._engine.connect() as connection:
            ended = [str(row[0]) for row in await connection.execute(query)]
        for channel_id in ended:
            await self.channels.closed(channel_id)
