"""The messages that open, fill, claim and close a channel, as a wallet sends them (SPEC 7.3, 9).

`query_id` is the sender's own: equal ones are told apart by nobody, so each order has another one.
"""

from pytoniq_core import Address, Cell

from bombyx.money.channel.closing import CloseTerms
from bombyx.money.channel.identity import Channel
from bombyx.money.channel.terms import Ceiling
from ton.channels.costs import attached, to_deposit
from ton.codec import messages, signed
from ton.codec.cells import BASECHAIN
from ton.codec.constants import Gas
from ton.codec.storage import ChannelConfig, channel_init
from ton.contracts import payment_channel
from ton.wallet.outgoing import Outgoing


def address_of(channel: Channel) -> Address:
    """A channel's address: of no other workchain than the basechain."""
    return Address((BASECHAIN, channel.account))


def config_of(channel: Channel) -> ChannelConfig:
    """Its configuration as the contract holds it."""
    config = channel.config
    return ChannelConfig(
        client=Address((BASECHAIN, config.client)),
        gateway=Address((BASECHAIN, config.gateway)),
        client_key=config.client_key,
        gateway_key=config.gateway_key,
        challenge_period=config.challenge_period,
        salt=config.salt,
    )


def open_message(channel: Channel, amount: int, *, query_id: int = 0) -> Outgoing:
    """Deploys the channel with a first deposit of `amount` nano; sent again it tops up."""
    init = channel_init(payment_channel(), config_of(channel))
    body = messages.TopUp(query_id, amount).cell()
    return Outgoing(address_of(channel), to_deposit(amount), body, init)


def top_up(channel: Channel, amount: int, *, query_id: int = 0) -> Outgoing:
    """Adds to the deposit; anybody may."""
    body = messages.TopUp(query_id, amount).cell()
    return Outgoing(address_of(channel), to_deposit(amount), body)


def _voucher(channel: Channel, ceiling: Ceiling) -> signed.Voucher:
    address = address_of(channel)
    return signed.Voucher(channel.network, address, ceiling.amount, ceiling.seqno)


def _to(channel: Channel, body: Cell, gas: Gas) -> Outgoing:
    return Outgoing(address_of(channel), attached(gas), body)


def claim(channel: Channel, amount: int, *, ceiling: Ceiling, query_id: int = 0) -> Outgoing:
    """The gateway takes `amount` nano in all, by the voucher of `ceiling`."""
    voucher = _voucher(channel, ceiling)
    body = messages.Claim(query_id, amount, ceiling.signature, voucher).cell()
    return _to(channel, body, Gas.CLAIM)


def gateway_close(
    channel: Channel, amount: int, *, ceiling: Ceiling, query_id: int = 0
) -> Outgoing:
    """The gateway takes `amount` in all, and returns the rest at once; it needs a voucher."""
    voucher = _voucher(channel, ceiling)
    body = messages.GatewayClose(query_id, amount, ceiling.signature, voucher).cell()
    return _to(channel, body, Gas.GATEWAY_CLOSE)


def coop_close(
    channel: Channel,
    terms: CloseTerms,
    *,
    client_signature: bytes,
    gateway_signature: bytes,
    query_id: int = 0,
) -> Outgoing:
    """Closes at once as both signed; anybody may send it."""
    cell = signed.CloseTerms(channel.network, address_of(channel), terms.amount, terms.valid_until)
    body = messages.CoopClose(query_id, client_signature, cell, gateway_signature).cell()
    return _to(channel, body, Gas.COOP_CLOSE)


def start_close(channel: Channel, *, query_id: int = 0) -> Outgoing:
    """The client starts the challenge period."""
    return _to(channel, messages.StartClose(query_id).cell(), Gas.START_CLOSE)


def finish_close(channel: Channel, *, query_id: int = 0) -> Outgoing:
    """Ends a channel whose challenge period is over; anybody may."""
    return _to(channel, messages.FinishClose(query_id).cell(), Gas.FINISH_CLOSE)
