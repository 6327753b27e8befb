"""Where a channel's client comes: to register it, to see how it stands, to end it (SPEC 7.10, 9.2).

Whoever registers proves that he holds the client's key; the account that did so first has the
channel, since a request below the best voucher needs no signature of its own.
"""

import asyncio
import contextlib

from bombyx.errors import (
    ChannelClosed,
    ChannelClosing,
    ChannelNotFound,
    ChannelNotOurs,
    ChannelRolledBack,
    DepositTooLow,
    NotFound,
)
from bombyx.money.channel.closing import ChannelSigner, CloseTerms
from bombyx.money.channel.documents import (
    CloseAnswer,
    Registration,
    check_proof,
    config_of,
)
from bombyx.money.channel.identity import Channel, admit
from bombyx.money.channel.terms import network_text
from gateway.channels.offers import MIN_DEPOSIT, Cashier
from gateway.channels.port import ChainSide, Seen
from gateway.channels.repository import Channels
from gateway.channels.rows import StoredChannel

MAX_LOOKS = 8
"""Looks at the chain at once: each asks several providers, and anybody with a key may cause one."""
TERMS_S = 300
"""How long close terms of ours are good: half of what a client takes, whose clock may be behind."""
RETRY_MS = 2_000
"""When to ask again for what a few seconds bring: a deployment, the end of a request."""


class Counter:
    """One per process that has a chain."""

    def __init__(
        self, channels: Channels, chain: ChainSide, *, cashier: Cashier, signer: ChannelSigner
    ) -> None:
        self._channels = channels
        self._chain = chain
        self._signer = signer
        self._looks = asyncio.Semaphore(MAX_LOOKS)
        self.cashier = cashier

    async def register(self, registration: Registration, owner: str, *, now: int) -> StoredChannel:
        """Take a channel, or look again at one that is taken; `now` in unix seconds.

        Raises what `admit` does, `VoucherForged` without proof, `ChannelNotFound` before it is on
        chain, `ChannelClosed`, `ChannelClosing`, `DepositTooLow`, `ChannelNotOurs` for another
        network or account, and the chain's own errors.
        """
        channel = self._admitted(registration)
        known = await self._channels.find(channel.account.hex())
        if known is not None and known.owner != owner:
            raise ChannelNotOurs("the channel is another account's")
        if known is not None and known.row.closed:
            return known
        async with self._looks:
            seen = await self._chain.look(channel)
        if seen is None:
            raise ChannelNotFound("the channel is not on chain yet", retry_after_ms=RETRY_MS)
        if known is None:
            self._check_new(seen)
            await self._channels.register(channel, owner)
        return await self._note(channel.account.hex(), seen, now=now)

    def _admitted(self, registration: Registration) -> Channel:
        if registration.network != network_text(self._chain.network):
            raise ChannelNotOurs("the channel is on another network", param="network")
        channel = admit(
            self._chain.network,
            config_of(registration),
            bytes.fromhex(registration.channel),
            payee=self._chain.account,
            payee_key=self._signer.public_key,
            min_period_s=self.cashier.min_period_s,
        )
        check_proof(registration, channel)
        return channel

    def _check_new(self, seen: Seen) -> None:
        """What must hold before a channel is taken at all (SPEC 7.5)."""
        if seen.closed:
            raise ChannelClosed("this channel was closed; open another one")
        if seen.close_at:
            raise ChannelClosing("this channel is being closed; open another one")
        if seen.deposited < MIN_DEPOSIT:
            raise self.cashier.explained(
                DepositTooLow(f"a new channel holds {MIN_DEPOSIT} nano at least"), 0
            )

    async def _note(self, channel_id: str, seen: Seen, *, now: int) -> StoredChannel:
        stored = await self._channels.fund(channel_id, seen.deposited)
        try:
            stored = await self._channels.claimed(channel_id, seen.claimed)
        except ChannelRolledBack:
            return await self._channels.rolled_back(channel_id, seen.claimed)
        if seen.closed:
            return await self._channels.closed(channel_id)
        if seen.close_at:
            return await self._channels.close_started(channel_id, seen.close_at)
        if stored.row.closing:
            # Its client asked for an end, and now asks to be served; our operator's end stands.
            with contextlib.suppress(ChannelClosing):
                return await self._channels.reopened(channel_id, now=now)
        return stored

    async def close(self, channel_id: str, owner: str, *, now: int) -> CloseAnswer:
        """Take nothing new, and sign an end over what was charged (SPEC 9.2).

        Raises `NotFound`, `ChannelClosed`, `ChannelRolledBack`, and `CloseInFlight` while requests
        run: ask again.
        """
        await self.owned(channel_id, owner)
        await self._channels.close_asked(channel_id)
        until = now + TERMS_S
        stored = await self._channels.sign_close_terms(channel_id, valid_until=until, now=now)
        # What the row says now is on disk: no reserve before these terms have ended.
        terms = CloseTerms(stored.row.charged, until)
        return CloseAnswer(
            amount_nano=str(terms.amount),
            valid_until=until,
            gateway_signature=self._signer.sign_close(stored.channel, terms).hex(),
        )

    async def owned(self, channel_id: str, owner: str) -> StoredChannel:
        """A channel of this account; raises `NotFound`."""
        found = await self._channels.find(channel_id)
        if found is None or found.owner != owner:
            raise NotFound("there is no such channel")
        return found
