"""Channels and what they pay for, short to write."""

from typing import Any

from bombyx.money.channel.identity import Channel
from bombyx.money.channel.terms import Ceiling
from gateway.channels.repository import Channels
from gateway.metering.port import Store
from gateway.metering.rows import ChannelClaim, Claimed
from tests.bombyx.money.channel.parties import CHANNEL, NETWORK, ceiling, config
from tests.gateway.metering.samples import new_claim

ID = CHANNEL.account.hex()
DEPOSIT = 1_000


def other_channel(salt: int) -> Channel:
    """One of the same parties."""
    return Channel(NETWORK, config(salt=salt))


def by_channel(
    number: int, reserve: int = 100, offered: Ceiling | None = None, **changes: Any
) -> ChannelClaim:
    """A claim that the channel is to pay."""
    return ChannelClaim(new_claim(number, reserve=reserve, channel=ID, **changes), offered)


async def paid_claim(
    channels: Channels, store: Store, number: int, *, slot: int = 1, reserve: int = 100
) -> int:
    """A funded channel with one claim in flight; the epoch of the process that claimed."""
    await channels.register(CHANNEL, "alice")
    await channels.fund(ID, DEPOSIT)
    epoch = await store.open_process(slot, "wss://gw")
    batch = [by_channel(number, reserve, ceiling(DEPOSIT))]
    assert isinstance((await store.claim_by_channel(slot, epoch, batch))[0], Claimed)
    return epoch
