"""Vouchers and 402 terms on the wire, and what may be believed of them (SPEC 7.6, 7.8)."""

from typing import Any

import pytest
from msgspec import UNSET

from bombyx import canonical
from bombyx.errors import (
    BombyxError,
    GatewayLied,
    NotCanonical,
    TermsRefused,
    VoucherExpires,
    VoucherForeign,
    VoucherForged,
)
from bombyx.money.channel.acceptance import ChannelRow
from bombyx.money.channel.terms import (
    MAX_TERMS_BYTES,
    NO_CEILING,
    Ceiling,
    NewChannel,
    PaymentTerms,
    Voucher,
    check_new_channel,
    check_offered,
    check_refusal,
    decode_terms,
    encode_terms,
    voucher_of,
)
from tests.bombyx.money.channel.parties import (
    CHANNEL,
    GATEWAY,
    NETWORK,
    PAYEE,
    STRANGER,
    books,
    ceiling,
    document,
    offer,
    terms,
)

ROW = ChannelRow(deposited=500, charged=100, reserved=50, ceiling=ceiling(200))


@pytest.mark.spec("7.6-a")
@pytest.mark.parametrize("seqno", [0, 9])
def test_a_voucher_is_read_back_as_its_signer_made_it(seqno: int) -> None:
    held = ceiling(123, seqno)
    sent = voucher_of(CHANNEL, held)
    assert check_offered(canonical.decode(canonical.encode(sent), Voucher), CHANNEL) == held


@pytest.mark.spec("7.6-a")
@pytest.mark.parametrize(
    ("voucher", "error"),
    [
        (document(5, network="tvm:-3"), VoucherForeign),
        (document(5, channel=bytes(32).hex()), VoucherForeign),
        (document(5, valid_until=2_000_000_000), VoucherExpires),
        (document(5, signer=STRANGER), VoucherForged),
        (document(5, signature="00" * 64), VoucherForged),
        (document(6, signature=document(5).signature), VoucherForged),
        (document(5, seqno=1, signature=document(5).signature), VoucherForged),
    ],
)
def test_each_way_in_which_a_voucher_is_none_has_its_code(
    voucher: Voucher, error: type[BombyxError]
) -> None:
    with pytest.raises(error):
        check_offered(voucher, CHANNEL)


def test_a_voucher_that_says_it_is_good_for_ever_is_good() -> None:
    assert check_offered(document(5, valid_until=0), CHANNEL).amount == 5


@pytest.mark.parametrize(
    "changes",
    [{"amount": "05"}, {"amount": "-1"}, {"amount": "9" * 19}, {"network": "ton"}, {"amount": 5}],
)
def test_a_malformed_voucher_is_not_read(changes: dict[str, Any]) -> None:
    fields = canonical.decode(canonical.encode(document(5)), Voucher)
    raw = {name: getattr(fields, name) for name in ("v", "network", "channel", "signature")}
    with pytest.raises(NotCanonical):
        canonical.decode(canonical.encode({**raw, "amount": "5", **changes}), Voucher)


def test_signatures_of_vouchers_are_not_shown() -> None:
    held = ceiling(5)
    shown = repr(held) + repr(document(5)) + repr(books(ROW, 5)) + repr(terms(ROW, 5))
    assert document(5).signature not in shown
    assert ROW.ceiling.signature.hex() not in shown
    assert repr(held.signature) not in shown


@pytest.mark.spec("7.8-a")
def test_terms_are_read_back_and_bounded() -> None:
    told = terms(ROW, 60)
    assert decode_terms(encode_terms(told)) == told
    with pytest.raises(TermsRefused):
        decode_terms(bytes(MAX_TERMS_BYTES + 1))
    with pytest.raises(NotCanonical):
        decode_terms(encode_terms(told) + b" ")
    with pytest.raises(NotCanonical):
        decode_terms(canonical.encode({"v": "bombyx-402/1", "error": "x", "accepts": []}))


@pytest.mark.spec("7.8-b")
def test_the_books_of_an_honest_refusal_are_read() -> None:
    said = check_refusal(terms(ROW, 60), CHANNEL, cost=60)
    assert (said.deposited, said.charged, said.reserved) == (500, 100, 50)
    assert (said.need, said.ceiling, said.error) == (210, 200, "voucher_required")


def test_a_gateway_without_a_voucher_names_none() -> None:
    row = ChannelRow(deposited=500)
    assert check_refusal(terms(row, 60), CHANNEL, cost=60).ceiling == 0
    assert row.ceiling == NO_CEILING


@pytest.mark.spec("7.8-b")
@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"ceiling": "201"}, GatewayLied),
        ({"signature": ceiling(200, signer=GATEWAY).signature.hex()}, GatewayLied),
        ({"signature": UNSET}, GatewayLied),
        ({"ceiling": "0"}, GatewayLied),
        ({"seqno": 1}, GatewayLied),
        ({"channel": bytes(32).hex()}, TermsRefused),
        ({"need": "211"}, TermsRefused),
        ({"charged": "101"}, TermsRefused),
    ],
)
def test_a_ceiling_needs_our_signature_and_numbers_must_agree(
    said: dict[str, Any], error: type[BombyxError]
) -> None:
    with pytest.raises(error):
        check_refusal(terms(ROW, 60, **said), CHANNEL, cost=60)


@pytest.mark.spec("7.8-b")
@pytest.mark.parametrize(
    "fields",
    [
        {"books": UNSET},
        {"pay_to": bytes(32).hex()},
        {"gateway_key": STRANGER.public_key.hex()},
        {"amount": "61"},
        {"scheme": "exact"},
        {"asset": "jetton"},
        {"network": "tvm:-3"},
    ],
)
def test_terms_of_another_channel_or_request_are_refused(fields: dict[str, Any]) -> None:
    told = offer(60, **{"books": books(ROW, 60)} | fields)
    with pytest.raises(TermsRefused):
        check_refusal(PaymentTerms(v="bombyx-402/1", error="x", accepts=[told]), CHANNEL, cost=60)


def test_our_way_to_pay_is_found_among_others() -> None:
    others = [offer(60, scheme="exact"), offer(60, books=books(ROW, 60))]
    told = PaymentTerms(v="bombyx-402/1", error="voucher_required", accepts=others)
    assert check_refusal(told, CHANNEL, cost=60).need == 210


def opened(max_deposit: int = 10_000, **fields: Any) -> NewChannel:
    told = PaymentTerms(v="bombyx-402/1", error="payment_required", accepts=[offer(5, **fields)])
    known = frozenset({GATEWAY.public_key, bytes(32)})
    return check_new_channel(told, network=NETWORK, gateways=known, max_deposit=max_deposit)


@pytest.mark.spec("7.8-c")
def test_a_channel_is_opened_to_a_known_gateway_by_the_known_contract() -> None:
    assert opened() == NewChannel(NETWORK, PAYEE, GATEWAY.public_key, 3_600, 10_000)
    assert opened(min_challenge_s=0).min_challenge_s == 3_600


@pytest.mark.spec("7.8-c")
@pytest.mark.parametrize(
    "fields",
    [
        {"code": bytes(32).hex()},
        {"gateway_key": STRANGER.public_key.hex()},
        {"gateway_key": bytes(32).hex()},
        {"min_challenge_s": 604_801},
        {"max_deposit": 9_999},
        {"network": "tvm:-3"},
    ],
)
def test_nothing_is_opened_for_strangers_or_other_contracts(fields: dict[str, Any]) -> None:
    with pytest.raises(TermsRefused):
        opened(**fields)


def test_a_ceiling_is_compared_by_all_that_was_signed() -> None:
    assert Ceiling(1) != Ceiling(1, 1)
