"""What happened to a channel: each message that took effect, in order (SPEC 7.3).

Every transaction commits to the one before it, so nothing is left out unless a quorum lies. What
the contract refused is shown as such: it changed nothing.
"""

from dataclasses import dataclass

from bombyx.money.channel.identity import Channel
from ton.chain.port import ChainClient, Happened, Point
from ton.channels.orders import address_of
from ton.codec.cells import raw
from ton.codec.messages import (
    ChannelClosed,
    Claim,
    CloseStarted,
    CoopClose,
    FinishClose,
    GatewayClose,
    Incoming,
    Outgoing,
    Payout,
    StartClose,
    TopUp,
    parse_incoming,
    parse_outgoing,
)
from ton.errors import MalformedCell
from ton.tvm.messages import Internal

_NAMES: dict[type[Incoming], str] = {
    TopUp: "top_up",
    Claim: "claim",
    CoopClose: "coop_close",
    StartClose: "start_close",
    FinishClose: "finish_close",
    GatewayClose: "gateway_close",
}


@dataclass(frozen=True, slots=True)
class ChannelEvent:
    """One message to a channel. `kind` is the operation, or `stray` for what is none.

    `source` is the sender (`workchain:hex`), `value` what it brought, `fees` what was burnt, in
    nano. Where `succeeded`: `deposited` is what a top-up added, `claimed` the new total that a
    claim or close paid, `close_at` the end that a StartClose set, `closed` whether this ended it.
    """

    kind: str
    point: Point
    at: int
    source: str
    value: int
    succeeded: bool
    exit_code: int
    gas_used: int
    fees: int
    deposited: int = 0
    claimed: int | None = None
    close_at: int | None = None
    refunded: int | None = None

    @property
    def closed(self) -> bool:
        """Whether the channel ended with this."""
        return self.refunded is not None


async def history(chain: ChainClient, channel: Channel) -> list[ChannelEvent]:
    """Everything, oldest first; raises as `ChainClient.transactions` does."""
    happened = await chain.transactions(address_of(channel))
    return [event for event in map(event_of, happened) if event is not None]


def event_of(happened: Happened) -> ChannelEvent | None:
    """What one transaction of a channel did; None without a message from an account."""
    done = happened.transaction
    try:
        message = None if done.in_message is None else Internal.read(done.in_message)
    except MalformedCell:
        message = None
    if message is None:
        return None
    told = _read_in(message)
    effects = _effects(done.out_messages) if done.succeeded else []
    payout, ended, started = (
        next((one for one in effects if isinstance(one, kind)), None)
        for kind in (Payout, ChannelClosed, CloseStarted)
    )
    is_top_up = done.succeeded and isinstance(told, TopUp)
    claimed = ended.claimed if isinstance(ended, ChannelClosed) else None
    if claimed is None and isinstance(payout, Payout):
        claimed = payout.claimed
    return ChannelEvent(
        kind="stray" if told is None else _NAMES[type(told)],
        point=happened.point,
        at=done.now,
        source=raw(message.source),
        value=message.value,
        succeeded=done.succeeded,
        exit_code=done.exit_code,
        gas_used=done.gas_used,
        fees=done.fees,
        deposited=told.amount if is_top_up and isinstance(told, TopUp) else 0,
        claimed=claimed,
        close_at=started.close_at if isinstance(started, CloseStarted) else None,
        refunded=ended.refunded if isinstance(ended, ChannelClosed) else None,
    )


def _read_in(message: Internal) -> Incoming | None:
    try:
        return None if message.bounced or message.body is None else parse_incoming(message.body)
    except MalformedCell:
        return None


def _effects(messages: tuple[object, ...]) -> list[Outgoing]:
    found = []
    for cell in messages:
        try:
            body = Internal.read(cell).body  # type: ignore[arg-type]
            if body is not None:
                found.append(parse_outgoing(body))
        except MalformedCell:
            continue
    return found
