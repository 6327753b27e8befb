"""Which channel pays, without a network around it (SPEC 7.6, 7.8)."""

import pytest
from msgspec import UNSET

from bombyx.errors import (
    BombyxError,
    InsufficientQuota,
    PaymentRequired,
    RequestError,
    VoucherRequired,
)
from bombyx.money.channel.acceptance import ChannelRow
from bombyx.money.channel.terms import check_refusal, decode_terms, network_text
from bombyx.units import MAX_NANO
from gateway.channels import till as till_module
from gateway.channels.offers import Cashier, books_of
from gateway.channels.repository import Channels
from gateway.channels.till import Till
from tests.bombyx.money.channel.parties import CHANNEL, GATEWAY, NETWORK, PAYEE, ceiling
from tests.gateway.channels.samples import ID, other_channel

CASHIER = Cashier(NETWORK, PAYEE, GATEWAY.public_key, 1_500)


def name(channel_id: str = ID) -> str:
    return f"{network_text(NETWORK)}:{channel_id}"


async def test_what_a_channel_is_stays_in_mind_and_old_ones_make_room(
    channels: Channels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(till_module, "MAX_KNOWN", 2)
    till = Till(channels, CASHIER)
    ids = []
    for salt in range(4):
        channel = other_channel(salt)
        await channels.register(channel, "alice")
        ids.append(channel.account.hex())
    for channel_id in (*ids, *ids):
        payment = await till.payment(name(channel_id), "alice", voucher=b"")
        assert (payment.id, payment.offered) == (channel_id, None)
    assert len(till._known) == 2


async def test_a_channel_that_was_unknown_is_found_once_it_is_registered(
    channels: Channels,
) -> None:
    till = Till(channels, CASHIER)
    with pytest.raises(PaymentRequired):
        await till.payment(name(), "alice", voucher=b"")
    await channels.register(CHANNEL, "alice")
    assert (await till.payment(name(), "alice", voucher=b"")).id == ID
    with pytest.raises(PaymentRequired):
        await till.payment(name(), "eve", voucher=b"")


async def test_only_what_is_about_money_gets_terms(channels: Channels) -> None:
    till, poor = Till(channels, CASHIER), Till(channels, None)
    money: list[PaymentRequired | InsufficientQuota]
    money = [VoucherRequired("x"), InsufficientQuota("x")]
    for error in money:
        assert poor.explained(error, 5) is error
        assert error.payment is None
        assert till.explained(error, 5) is error
        assert error.payment is not None
        offer = decode_terms(error.payment).accepts[0]
        assert (offer.amount, offer.books) == ("5", UNSET)
        first = error.payment
        till.explained(error, 6)
        assert error.payment == first
    other: BombyxError = RequestError("x")
    assert till.explained(other, 5) is other
    assert not hasattr(other, "payment")


def test_books_in_terms_are_what_a_client_can_check() -> None:
    row = ChannelRow(500, 100, 50, ceiling(200, 3))
    refused = CASHIER.refused(VoucherRequired("x"), 300, channel=CHANNEL, row=row)
    assert isinstance(refused, VoucherRequired)
    assert refused.payment is not None
    said = check_refusal(decode_terms(refused.payment), CHANNEL, cost=300)
    assert (said.need, said.ceiling, said.charged, said.reserved) == (450, 200, 100, 50)


def test_numbers_beyond_all_amounts_are_not_shown() -> None:
    row = ChannelRow(MAX_NANO, 10, 0, ceiling(MAX_NANO))
    assert books_of(CHANNEL, row, MAX_NANO) is UNSET
    assert CASHIER.min_period_s == 3_600
