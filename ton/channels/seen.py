"""A channel as the chain shows it, agreed by a quorum and recomputed here (SPEC 7.1, 7.5)."""

from dataclasses import dataclass

from bombyx.money.channel.identity import Channel
from ton.chain.contracts import channel_of
from ton.chain.port import AccountState, ChainClient, Point
from ton.channels.orders import address_of
from ton.codec.constants import CLOSED
from ton.tvm.accounts import Status


@dataclass(frozen=True, slots=True)
class Seen:
    """Totals in nano. `close_at` is unix seconds by the chain's clock, 0 while nobody closes.

    `balance` is what the account holds, rent included; `at` is the time of the block that shows it,
    `last` the newest transaction.
    """

    deposited: int
    claimed: int
    close_at: int
    closed: bool
    balance: int
    at: int
    last: Point


async def look(chain: ChainClient, channel: Channel) -> Seen | None:
    """The channel now; None where none was deployed yet.

    Raises `ForeignContract` for other code at its address, and as `ChainClient.account` does.
    """
    return seen(await chain.account(address_of(channel)), channel)


def seen(state: AccountState, channel: Channel) -> Seen | None:
    """What an account's state says of a channel; raises `ForeignContract`."""
    if state.address != address_of(channel):
        raise ValueError("this is the state of another account")
    if state.status in {Status.ABSENT, Status.UNINITIALIZED}:
        return None
    shown = channel_of(state)  # recomputes the address, which holds the whole configuration
    is_closed = shown.close_at == CLOSED
    return Seen(
        deposited=shown.deposited,
        claimed=shown.claimed,
        close_at=0 if is_closed else shown.close_at,
        closed=is_closed,
        balance=state.balance,
        at=state.at,
        last=state.last,
    )
