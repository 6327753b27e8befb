"""`channel.json` as a stranger reads it: addresses, signatures, decisions follow from it alone."""

from typing import Any

import pytest

from bombyx import canonical
from bombyx.errors import BombyxError
from bombyx.money.channel.acceptance import ChannelRow, reserve
from bombyx.money.channel.closing import CloseTerms, check_close_signature, close_digest
from bombyx.money.channel.identity import Channel, ChannelConfig, admit
from bombyx.money.channel.terms import (
    Ceiling,
    Voucher,
    check_new_channel,
    check_offered,
    check_refusal,
    decode_terms,
)
from tests.vectors import make_vectors

STORED = make_vectors.load()["channel"]


def raw(text: str) -> bytes:
    return bytes.fromhex(text)


def stored_config(**changes: Any) -> ChannelConfig:
    fields = STORED["config"] | changes
    return ChannelConfig(
        client=raw(fields["client"]),
        gateway=raw(fields["gateway"]),
        client_key=raw(fields["client_key"]),
        gateway_key=raw(fields["gateway_key"]),
        challenge_period=fields["challenge_period"],
        salt=int(fields["salt"]),
    )


CHANNEL = Channel(STORED["network"], stored_config())


def test_the_stored_channel_lives_where_it_says() -> None:
    assert CHANNEL.account.hex() == STORED["account"]


@pytest.mark.parametrize("entry", STORED["vouchers"], ids=lambda one: f"{one['amount']}")
def test_each_stored_voucher_is_signed_by_the_client(entry: dict[str, Any]) -> None:
    held = check_offered(canonical.decode(entry["document"].encode(), Voucher), CHANNEL)
    assert (str(held.amount), held.seqno) == (entry["amount"], entry["seqno"])
    digest = CHANNEL.template.digest(held.amount, seqno=held.seqno)
    assert digest.hex() == entry["digest"]


@pytest.mark.parametrize("entry", STORED["close_terms"], ids=lambda one: f"{one['amount']}")
def test_each_stored_end_is_signed_by_both(entry: dict[str, Any]) -> None:
    agreed = CloseTerms(int(entry["amount"]), entry["valid_until"])
    digest = close_digest(CHANNEL, agreed.amount, valid_until=agreed.valid_until)
    assert digest.hex() == entry["digest"]
    config = CHANNEL.config
    for name, key in (("client", config.client_key), ("gateway", config.gateway_key)):
        signature = raw(entry[f"{name}_signature"])
        check_close_signature(CHANNEL, agreed, signature=signature, key=key)


def result(act: Any) -> str:
    try:
        act()
    except BombyxError as error:
        return error.code
    return "accepted"


@pytest.mark.parametrize("entry", STORED["voucher_cases"], ids=lambda one: f"{one['case']}")
def test_each_stored_offer_of_a_voucher_is_taken_or_refused(entry: dict[str, Any]) -> None:
    document = canonical.decode(entry["document"].encode(), Voucher)
    assert result(lambda: check_offered(document, CHANNEL)) == entry["result"]


def row(fields: dict[str, Any]) -> ChannelRow:
    return ChannelRow(**fields | {"ceiling": Ceiling(fields["ceiling"])})


@pytest.mark.parametrize("entry", STORED["reserve_cases"], ids=lambda one: f"{one['case']}")
def test_each_stored_request_is_served_or_refused(entry: dict[str, Any]) -> None:
    held, amount = row(entry["row"]), entry["voucher"]
    offered = None if amount is None else Ceiling(amount)
    assert result(lambda: reserve(held, entry["cost"], offered=offered)) == entry["result"]
    if "after" in entry:
        assert reserve(held, entry["cost"], offered=offered) == row(entry["after"])


@pytest.mark.parametrize("entry", STORED["admit_cases"], ids=lambda one: f"{one['case']}")
def test_each_stored_channel_is_taken_or_refused(entry: dict[str, Any]) -> None:
    changed, known = stored_config(**entry["changes"]), CHANNEL.config
    payee: dict[str, Any] = {"payee": known.gateway, "payee_key": known.gateway_key}
    account = raw(entry["account"])
    assert result(lambda: admit(STORED["network"], changed, account, **payee)) == entry["result"]


def test_the_stored_terms_are_what_a_client_may_believe() -> None:
    opening = decode_terms(STORED["terms"]["no_channel"].encode())
    known = frozenset({CHANNEL.config.gateway_key})
    network = STORED["network"]
    new = check_new_channel(opening, network=network, gateways=known, max_deposit=10_000)
    assert new.gateway == CHANNEL.config.gateway
    refusal = decode_terms(STORED["terms"]["voucher_required"].encode())
    said = check_refusal(refusal, CHANNEL, cost=300)
    assert (said.need, said.ceiling, said.error) == (1_200, 1_000, "voucher_required")
