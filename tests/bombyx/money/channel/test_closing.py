"""Close terms as both sign them, and the time of claims (SPEC 9.2, 9.6)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytoniq_core import Address

from bombyx.errors import (
    BombyxError,
    ChannelRolledBack,
    CloseInFlight,
    CloseNotAsked,
    CloseTermsRefused,
)
from bombyx.money.channel.acceptance import (
    ChannelRow,
    claimed,
    close_asked,
    close_started,
    closed,
    reserve,
    rolled_back,
    settle,
)
from bombyx.money.channel.closing import (
    CloseTerms,
    PayoutView,
    check_client_terms,
    check_close_signature,
    claim_by,
    claim_due,
    close_digest,
    payout_claim_due,
)
from bombyx.money.channel.identity import Channel
from bombyx.money.channel.spending import Flight, Purse
from tests.bombyx.money.channel.parties import CHANNEL, CLIENT, NETWORK, NOW, ceiling, config
from ton.codec import signed

PERIOD = 3_600
COST = 2
CHARGED = settle(
    reserve(ChannelRow(deposited=1_000), 500, offered=ceiling(900)), 500, charge=COST * 100
)


@pytest.mark.spec("9.2-c")
@given(st.integers(0, 2**120 - 1), st.integers(0, 2**32 - 1), st.sampled_from([-239, -3, 7]))
def test_the_digest_is_the_hash_of_the_terms_as_a_cell(
    amount: int, until: int, network: int
) -> None:
    channel = Channel(network, config())
    terms = signed.CloseTerms(
        network=network, channel=Address((0, channel.account)), amount=amount, valid_until=until
    )
    assert close_digest(channel, amount, valid_until=until) == terms.cell().hash


@pytest.mark.parametrize(("amount", "until"), [(-1, 1), (2**120, 1), (1, -1), (1, 2**32)])
def test_numbers_that_no_terms_hold_are_refused(amount: int, until: int) -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        close_digest(CHANNEL, amount, valid_until=until)
    with pytest.raises(CloseTermsRefused):
        check_close_signature(
            CHANNEL, CloseTerms(amount, until), signature=bytes(64), key=CLIENT.public_key
        )


@pytest.mark.spec("9.2-c")
def test_terms_need_the_other_sides_signature_over_exactly_them() -> None:
    terms = CloseTerms(60, NOW + 60)
    good = CLIENT.sign_close(CHANNEL, terms)
    check_close_signature(CHANNEL, terms, signature=good, key=CLIENT.public_key)
    voucher = CLIENT.sign(CHANNEL.template, 60, valid_until=NOW + 60)
    elsewhere = Channel(NETWORK, config(salt=8))
    for channel, said, signature in (
        (CHANNEL, terms, voucher),
        (CHANNEL, CloseTerms(61, NOW + 60), good),
        (CHANNEL, CloseTerms(60, NOW + 61), good),
        (elsewhere, terms, good),
    ):
        with pytest.raises(CloseTermsRefused):
            check_close_signature(channel, said, signature=signature, key=CLIENT.public_key)


ENDED = Purse(deposited=1_000, signed_max=300, proven=200, closing=True)


@pytest.mark.spec("9.2-d")
def test_a_client_signs_an_end_that_its_receipts_prove() -> None:
    check_client_terms(ENDED, CloseTerms(200, NOW + 600), now=NOW)
    check_client_terms(ENDED, CloseTerms(0, NOW + 1), now=NOW)


@pytest.mark.spec("9.2-d")
@pytest.mark.parametrize(
    ("purse", "amount", "until", "error"),
    [
        (Purse(signed_max=300, proven=200), 200, NOW + 600, CloseNotAsked),
        (
            Purse(signed_max=300, closing=True, inflight={b"c": Flight(5, NOW, 0)}),
            0,
            NOW + 600,
            CloseInFlight,
        ),
        (ENDED, 201, NOW + 600, CloseTermsRefused),
        (ENDED, 200, NOW, CloseTermsRefused),
        (ENDED, 200, NOW + 601, CloseTermsRefused),
    ],
)
def test_a_client_signs_no_other_end(
    purse: Purse, amount: int, until: int, error: type[BombyxError]
) -> None:
    with pytest.raises(error):
        check_client_terms(purse, CloseTerms(amount, until), now=NOW)


@pytest.mark.spec("9.6-a")
def test_an_open_channel_is_claimed_when_it_is_worth_its_cost() -> None:
    assert claim_due(CHARGED, cost=COST, period=PERIOD, now=NOW) == 200
    assert claim_due(CHARGED, cost=COST + 1, period=PERIOD, now=NOW) is None
    assert claim_due(claimed(CHARGED, 200), cost=0, period=PERIOD, now=NOW) is None


@pytest.mark.spec("9.6-a")
def test_what_is_claimed_is_what_was_charged_and_never_the_ceiling() -> None:
    assert CHARGED.ceiling.amount == 900
    for row in (CHARGED, close_asked(CHARGED), close_started(CHARGED, NOW)):
        assert claim_due(row, cost=0, period=PERIOD, now=NOW) == 200


@pytest.mark.spec("9.6-b")
def test_a_closing_channel_is_claimed_when_all_is_settled_or_time_runs_short() -> None:
    row = close_started(reserve(CHARGED, 10), NOW)
    due = claim_by(NOW, PERIOD)
    assert due == NOW - 1_200
    assert claim_by(NOW, 9_000) == NOW - 3_000
    assert claim_due(row, cost=COST, period=PERIOD, now=due - 1) is None
    assert claim_due(row, cost=COST, period=PERIOD, now=due) == 200
    again = settle(claimed(row, 200), 10, charge=10)
    assert claim_due(again, cost=COST, period=PERIOD, now=due - 1) == 210
    assert claim_due(again, cost=10, period=PERIOD, now=due) is None
    asked = close_asked(reserve(CHARGED, 10))
    assert claim_due(asked, cost=COST, period=PERIOD, now=NOW) is None


def test_nothing_is_claimed_from_a_tombstone_or_by_old_books() -> None:
    assert claim_due(closed(CHARGED), cost=0, period=PERIOD, now=NOW) is None
    with pytest.raises(ChannelRolledBack):
        claim_due(rolled_back(CHARGED, 201), cost=0, period=PERIOD, now=NOW)


@pytest.mark.spec("8.6-a")
def test_an_owner_claims_what_the_chain_would_pay_and_at_once_when_it_closes() -> None:
    best = ceiling(500)
    assert payout_claim_due(best, PayoutView(1_000, 300), cost=2) == 500
    assert payout_claim_due(best, PayoutView(1_000, 301), cost=2) is None
    assert payout_claim_due(best, PayoutView(1_000, 497, close_at=NOW), cost=2) == 500
    assert payout_claim_due(best, PayoutView(1_000, 498, close_at=NOW), cost=2) is None
    assert payout_claim_due(best, PayoutView(300, 300, close_at=NOW), cost=0) is None
    assert payout_claim_due(best, PayoutView(300, 300), cost=0) is None
