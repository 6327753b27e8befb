"""Whether what is at an address is the contract that we mean: by its code and address alone."""

from pytoniq_core import Address, Cell

from ton.chain.errors import ForeignContract
from ton.chain.port import AccountState
from ton.codec.cells import raw
from ton.codec.storage import ChannelConfig, ChannelState, channel_address
from ton.contracts import payment_channel
from ton.errors import MalformedCell


def channel_of(state: AccountState, *, code: Cell | None = None) -> ChannelState:
    """The state of a payment channel, whose address is recomputed (SPEC 7.1).

    Raises `ForeignContract` where the code is another one, the data are none of a channel, or the
    address does not follow from the configuration that they show.
    """
    code = code or payment_channel()
    place = raw(state.address)
    if state.code is None or state.data is None:
        raise ForeignContract(f"there is no contract at {place}")
    if state.code.hash != code.hash:
        raise ForeignContract(f"the contract at {place} is not the published channel")
    try:
        channel = ChannelState.read(state.data)
    except MalformedCell as cause:
        raise ForeignContract(
            f"the contract at {place} holds no channel: {cause.message}"
        ) from cause
    check_address(state.address, channel.config, code=code)
    return channel


def check_address(address: Address, config: ChannelConfig, *, code: Cell | None = None) -> None:
    """Demand that a channel of this configuration lives here; raises `ForeignContract`."""
    if channel_address(code or payment_channel(), config) != address:
        raise ForeignContract(f"{raw(address)} is not the address of the channel that it claims")
