"""A channel that halted is served again, once a person has looked (SPEC 7.7).

The books are an old copy: the chain tells what it paid, and shows the voucher that it was paid for,
which the copy may have forgotten too.
"""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from bombyx.errors import ChannelNotFound, VoucherForged
from bombyx.money.channel.acceptance import CLOCK_MARGIN_S, MAX_TERMS_S
from bombyx.money.channel.identity import Channel
from bombyx.money.channel.terms import NO_CEILING, Ceiling
from bombyx.units import MAX_NANO
from gateway.channels.repository import Channels
from gateway.channels.rows import StoredChannel
from ton.chain.port import ChainClient, Happened
from ton.channels.orders import address_of
from ton.channels.seen import look
from ton.codec.messages import Claiming, parse_incoming
from ton.errors import MalformedCell
from ton.tvm.messages import Internal

TERMS_S: Final = MAX_TERMS_S + CLOCK_MARGIN_S
"""How long close terms that the books forgot could still be executed."""


class Resuming:
    """Of one network; `deadline_s` is the time from a request's dispatch to its deadline."""

    def __init__(self, engine: AsyncEngine, chain: ChainClient, *, deadline_s: int) -> None:
        self._engine = engine
        self._chain = chain
        self._lost_s = max(deadline_s, TERMS_S)

    async def resume(self, channel_id: str, *, actor: str) -> StoredChannel:
        """See `Watch.resume_channel`; raises as `ChainClient.transactions` does, too."""
        channels = Channels(self._engine, actor)
        stored = await channels.row(channel_id)
        if stored.row.closed or not stored.row.halted:
            return await channels.resumed(channel_id, 0, held=NO_CEILING, lost_s=self._lost_s)
        seen = await look(self._chain, stored.channel)
        if seen is None:
            raise ChannelNotFound("the chain has no such channel any more")
        held = await self._best_voucher(stored.channel)
        await channels.fund(channel_id, seen.deposited)
        if seen.closed:
            await channels.closed(channel_id)
        return await channels.resumed(channel_id, seen.claimed, held=held, lost_s=self._lost_s)

    async def _best_voucher(self, channel: Channel) -> Ceiling:
        """The highest one that a claim was paid for."""
        happened = await self._chain.transactions(address_of(channel))
        shown = [one for one in (_shown(one, channel) for one in happened) if one is not None]
        return max(shown, key=lambda held: held.amount, default=NO_CEILING)


def _shown(happened: Happened, channel: Channel) -> Ceiling | None:
    """The voucher of a claim that took effect; its signature is checked as acceptance does."""
    message = happened.transaction.in_message
    if message is None or not happened.transaction.succeeded:
        return None
    try:
        body = Internal.read(message).body
        told = None if body is None else parse_incoming(body)
        if not isinstance(told, Claiming) or told.voucher.amount > MAX_NANO:
            return None
        held = Ceiling(told.voucher.amount, told.voucher.seqno, told.signature)
        channel.check_payer_signed(held.amount, held.signature, seqno=held.seqno)
    except (MalformedCell, VoucherForged):
        return None
    return held
