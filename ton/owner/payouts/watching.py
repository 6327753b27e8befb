"""The owner's watch: one round after another, each failing alone (SPEC 8.6)."""

import asyncio
from collections.abc import Callable

from bombyx.errors import BombyxError
from bombyx.money.channel.payout import UNSECURED_CREDIT
from ton.owner.payouts.round import Owner, Standing
from ton.wallet.wallet import Wallet


async def watching(
    owner: Owner, wallet: Wallet, *, every_s: float, say: Callable[[str], None]
) -> None:
    """Look, claim what is due, tell what is wrong once; for as long as it is not cancelled."""
    told: set[str] = set()
    while True:
        troubles = await turn(owner, wallet, say=say)
        for sentence in sorted(troubles - told):
            say(sentence)
        told = troubles
        await asyncio.sleep(every_s)


async def turn(owner: Owner, wallet: Wallet, *, say: Callable[[str], None]) -> set[str]:
    """One round; what is wrong, in sentences."""
    try:
        for one in await owner.claim(wallet):
            say(f"claimed {one.paid} nano of channel {one.channel[:16]}: {one.transaction}")
        return {sentence for one in await owner.look() for sentence in wrong(one)}
    except BombyxError as error:
        return {f"cannot claim: {error.message}"}


def wrong(one: Standing) -> list[str]:
    """What its owner should know of a channel."""
    name = one.payable.channel.account.hex()[:16]
    found = []
    if one.trouble:
        found.append(f"channel {name} cannot be seen: {one.trouble}")
    if one.state == "closing":
        found.append(f"gateway {one.payable.gateway[:16]} is closing channel {name}")
    if one.gap > UNSECURED_CREDIT:  # less is on its way
        found.append(f"channel {name}: workers were billed more than its voucher names")
    if one.uncovered:
        found.append(f"channel {name}: its voucher goes beyond the gateway's deposit")
    return found
