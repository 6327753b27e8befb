"""A contract is what its code and address say, recomputed here."""

import dataclasses

import pytest
from pytoniq_core import Address, Cell

from tests.ton.devnet.fixtures import GRAM, channel_config
from ton.chain.contracts import channel_of, check_address
from ton.chain.errors import ForeignContract
from ton.chain.external import normal_hash
from ton.chain.port import AccountState, Point
from ton.codec.cells import Writer
from ton.codec.storage import ChannelState, channel_address
from ton.contracts import payment_channel
from ton.errors import MalformedCell
from ton.tvm.accounts import Status

CONFIG = channel_config(Address((0, b"\x55" * 32)))
DATA = ChannelState(deposited=5 * GRAM, claimed=1, close_at=0, config=CONFIG)


def shown(address: Address, *, code: Cell | None, data: Cell | None) -> AccountState:
    return AccountState(address, Status.ACTIVE, GRAM, code, data, Point(1, bytes(32)), 0)


def test_a_channel_at_its_own_address_is_believed() -> None:
    address = channel_address(payment_channel(), CONFIG)
    state = shown(address, code=payment_channel(), data=DATA.cell())
    assert channel_of(state) == DATA
    check_address(address, CONFIG)


@pytest.mark.spec("7.1-a")
def test_a_channel_at_another_address_than_its_configuration_gives_is_foreign() -> None:
    address = channel_address(payment_channel(), dataclasses.replace(CONFIG, salt=2))
    state = shown(address, code=payment_channel(), data=DATA.cell())
    with pytest.raises(ForeignContract, match="not the address of the channel"):
        channel_of(state)


@pytest.mark.parametrize(
    ("code", "data"),
    [
        (None, None),
        (payment_channel(), None),
        (Writer().uint(1, 8).cell(), DATA.cell()),
        (payment_channel(), Writer().uint(1, 8).cell()),
    ],
)
def test_what_is_no_channel_is_foreign(code: Cell | None, data: Cell | None) -> None:
    address = channel_address(payment_channel(), CONFIG)
    with pytest.raises(ForeignContract):
        channel_of(shown(address, code=code, data=data))


def test_a_cell_that_is_no_message_has_no_hash_as_one() -> None:
    with pytest.raises(MalformedCell):
        normal_hash(Writer().cell())
