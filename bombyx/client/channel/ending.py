"""Ending a channel (SPEC 9): as both sign, at once; or alone, after the challenge period."""

import asyncio
from dataclasses import dataclass

from bombyx.client.channel.chain_port import ChainSide, Looked
from bombyx.client.channel.funding import Say, ended, refresh, saved
from bombyx.client.channel.gateway import GatewayRoutes
from bombyx.client.channel.payer import Payer
from bombyx.errors import ChannelClosed, CloseInFlight, CloseTermsRefused, SetupError
from bombyx.money.channel import spending
from bombyx.money.channel.closing import CloseTerms, check_client_terms
from bombyx.money.channel.documents import check_close_answer

CLOSE_TRIES = 60
"""Asked for once a second while the last requests settle."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How it stands: `how` is `closed`, `cooperative` or `started`; `claimed` the gateway's total.

    `close_at`: from when on `withdraw` finishes a close that was started.
    """

    how: str
    claimed: int
    refunded: int
    close_at: int = 0


async def close_together(
    one: Payer, routes: GatewayRoutes, chain: ChainSide, *, say: Say, pause: float = 1.0
) -> Ended:
    """Close as both sign; raises `CloseTermsRefused` where only `close_alone` is left.

    The books close first: nothing new is asked of this channel from here on.
    """
    looked = await _still_there(one, chain)
    await saved(one.change(spending.closing))
    for c in [*one.purse.inflight, *one.purse.lapsed]:
        one.late(c, await routes.receipt(c))
    answer, signature = await _agreed(one, routes, say=say, pause=pause)
    client = one.store.signer.sign_close(one.store.channel, answer)
    say(f"both signed: the gateway gets {answer.amount} nano in all")
    await chain.coop_close(
        one.store.channel,
        answer,
        (client, signature),
        order=f"close {one.store.name} until {answer.valid_until}",
    )
    await ended(one)
    return Ended("cooperative", answer.amount, looked.deposited - answer.amount)


async def _agreed(
    one: Payer, routes: GatewayRoutes, *, say: Say, pause: float
) -> tuple[CloseTerms, bytes]:
    """Terms that the gateway signed and that we may sign."""
    for attempt in range(CLOSE_TRIES):
        try:
            answer = await routes.close(one.store.name)
            await _abandon(one, routes)
            agreed, signature = check_close_answer(one.store.channel, answer)
            check_client_terms(one.purse, agreed, now=one.now())
        except CloseInFlight:
            if not attempt:
                say("waiting for the last requests to settle")
            await asyncio.sleep(pause)
        else:
            return agreed, signature
    raise CloseTermsRefused("requests still run: close again later, or alone with --alone")


async def _abandon(one: Payer, routes: GatewayRoutes) -> None:
    """Let go of what a crash left in flight: the gateway has settled all it had, and takes no more.

    Else a program that was killed could not close before those deadlines. What its receipts prove
    still counts; the terms name no more than that, so that nothing is lost here.
    """
    for c in one.abandoned():
        if not one.late(c, await routes.receipt(c)):
            one.give_up(c)


async def close_alone(one: Payer, chain: ChainSide, *, say: Say) -> Ended:
    """Start the challenge period, which needs nobody; `withdraw` ends it."""
    looked = await _still_there(one, chain)
    await saved(one.change(spending.closing))
    if not looked.close_at:
        say("starting the challenge period")
        await chain.start_close(one.store.channel, order=f"start close {one.store.name}")
        looked = await _still_there(one, chain)
    return Ended("started", looked.claimed, 0, looked.close_at)


async def withdraw(one: Payer, chain: ChainSide, *, say: Say) -> Ended:
    """Take the rest of a channel whose challenge period is over; raises `SetupError` before."""
    looked = await _still_there(one, chain)
    if not looked.close_at:
        raise SetupError("nobody is closing this channel: `bombyx channel close` it first")
    if looked.at < looked.close_at:
        left = looked.close_at - looked.at
        raise SetupError(f"the challenge period ends in {left} s; the gateway may claim until then")
    say("finishing the close")
    await chain.finish_close(one.store.channel, order=f"finish close {one.store.name}")
    await ended(one)
    after = await refresh(one, chain)
    claimed = looked.claimed if after is None else after.claimed
    return Ended("closed", claimed, looked.deposited - claimed)


async def _still_there(one: Payer, chain: ChainSide) -> Looked:
    looked = await refresh(one, chain)
    if looked is None:
        raise SetupError(f"the chain shows no channel {one.store.name}: nothing was deposited")
    if looked.closed:
        raise ChannelClosed("this channel is closed already")
    return looked
