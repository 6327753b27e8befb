"""SPEC 8.7: which account an address names, without the library for cells."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytoniq_core import Address

from bombyx.money.channel.addresses import account_of

ACCOUNT = bytes(range(32))


@given(st.binary(min_size=32, max_size=32), st.booleans(), st.booleans(), st.booleans())
def test_both_spellings_name_the_librarys_account(
    account: bytes, bounceable: bool, url_safe: bool, testnet: bool
) -> None:
    address = Address((0, account))
    friendly = address.to_str(is_bounceable=bounceable, is_url_safe=url_safe, is_test_only=testnet)
    assert account_of(friendly) == account
    assert account_of(address.to_str(is_user_friendly=False)) == account


@given(st.integers(0, 47), st.sampled_from("ABCDabcd0189"))
def test_a_typing_error_is_seen(at: int, letter: str) -> None:
    friendly = Address((0, ACCOUNT)).to_str()
    wrong = friendly[:at] + letter + friendly[at + 1 :]
    assert account_of(wrong) == (ACCOUNT if wrong == friendly else None)


@pytest.mark.parametrize(
    "text",
    [
        "unset",
        "wallet0",
        "",
        "0:" + "00" * 31,
        "0:" + "zz" * 32,
        "-1:" + "00" * 32,
        "0:" + "00" * 32 + "\n",
        Address((-1, ACCOUNT)).to_str(),
        base64.b64encode(bytes(36)).decode(),
        "é" * 48,
    ],
)
def test_what_is_no_account_of_the_basechain_has_none(text: str) -> None:
    assert account_of(text) is None
