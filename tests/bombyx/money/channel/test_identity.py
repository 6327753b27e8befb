"""A channel's address from plain numbers, and which channels a payee takes (SPEC 7.1, 7.5)."""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytoniq_core import Address

from bombyx.errors import (
    BombyxError,
    ChannelAddressWrong,
    ChannelKeyWeak,
    ChannelNotOurs,
    ChannelPeriodRefused,
    VoucherForged,
)
from bombyx.money.channel import identity
from bombyx.money.channel.identity import (
    CHANNEL_CODE,
    Channel,
    ChannelConfig,
    Code,
    admit,
    least_period_s,
)
from tests.bombyx.money.channel.parties import (
    CHANNEL,
    GATEWAY,
    NETWORK,
    PAYEE,
    STRANGER,
    ceiling,
    config,
)
from ton.codec import constants, storage
from ton.contracts import payment_channel

octets = st.binary(min_size=32, max_size=32)


@pytest.mark.spec("7.1-a")
@given(octets, octets, octets, octets, st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_the_address_is_the_one_that_the_library_for_cells_computes(
    client: bytes, gateway: bytes, client_key: bytes, gateway_key: bytes, period: int, salt: int
) -> None:
    config = ChannelConfig(client, gateway, client_key, gateway_key, period, salt)
    theirs = storage.ChannelConfig(
        client=Address((0, client)),
        gateway=Address((0, gateway)),
        client_key=client_key,
        gateway_key=gateway_key,
        challenge_period=period,
        salt=salt,
    )
    address = storage.channel_address(payment_channel(), theirs)
    assert config.account() == address.hash_part


@pytest.mark.spec("7.1-a")
def test_the_pinned_code_is_the_published_contract() -> None:
    code = payment_channel()
    assert Code(code.hash, code.get_depth(0)) == CHANNEL_CODE
    bounds = (identity.MIN_CHALLENGE_S, identity.MAX_CHALLENGE_S)
    assert bounds == (constants.MIN_CHALLENGE, constants.MAX_CHALLENGE)


def test_another_code_is_another_address() -> None:
    other = Code(hashlib.sha256(b"another").digest(), CHANNEL_CODE.depth)
    assert config().account(other) != config().account()


@pytest.mark.parametrize(
    "fields",
    [
        {"client": b"short"},
        {"gateway": bytes(33)},
        {"client_key": bytes(31)},
        {"gateway_key": b""},
        {"challenge_period": -1},
        {"challenge_period": 2**32},
        {"salt": 2**64},
        {"salt": -1},
    ],
)
def test_what_no_configuration_holds_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"bytes|hold"):
        config(**fields)


def take(fields: dict[str, Any], **said: Any) -> Channel:
    made = config(**fields)
    account = said.pop("account", made.account())
    expected = {"payee": PAYEE, "payee_key": GATEWAY.public_key}
    return admit(NETWORK, made, account, **expected | said)


@pytest.mark.spec("7.5-a")
@pytest.mark.parametrize(
    ("fields", "said", "error"),
    [
        ({}, {"account": bytes(32)}, ChannelAddressWrong),
        ({}, {"account": config(salt=8).account()}, ChannelAddressWrong),
        ({"gateway": bytes(32)}, {}, ChannelNotOurs),
        ({"gateway_key": STRANGER.public_key}, {}, ChannelNotOurs),
        ({"challenge_period": 3_599}, {}, ChannelPeriodRefused),
        ({"challenge_period": 604_801}, {}, ChannelPeriodRefused),
        ({"challenge_period": 3_600}, {"min_period_s": 259_200}, ChannelPeriodRefused),
        ({"client_key": bytes(32)}, {}, ChannelKeyWeak),
        ({"client_key": b"\x01" + bytes(31)}, {}, ChannelKeyWeak),
        ({"gateway_key": bytes(32)}, {"payee_key": bytes(32)}, ChannelKeyWeak),
    ],
)
def test_a_channel_that_could_cheat_its_payee_is_refused(
    fields: dict[str, Any], said: dict[str, Any], error: type[BombyxError]
) -> None:
    with pytest.raises(error):
        take(fields, **said)


@pytest.mark.spec("7.5-a")
def test_a_good_channel_is_taken() -> None:
    channel = take({})
    assert (channel.network, channel.account) == (NETWORK, config().account())
    assert repr(channel) == f"Channel({NETWORK}, {channel.account.hex()})"


@pytest.mark.spec("9.5-a")
def test_a_period_leaves_twice_the_time_to_settle_and_claim() -> None:
    assert least_period_s(1_500, 300) == 3_600
    assert least_period_s(3_000, 600) == 7_200


def test_only_the_client_signs_ceilings() -> None:
    CHANNEL.check_payer_signed(5, ceiling(5).signature)
    for amount, signature in (
        (6, ceiling(5).signature),
        (5, ceiling(5, signer=GATEWAY).signature),
        (5, b"short"),
        (2**120, ceiling(5).signature),
    ):
        with pytest.raises(VoucherForged):
            CHANNEL.check_payer_signed(amount, signature)
