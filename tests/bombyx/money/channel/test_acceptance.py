"""What a gateway serves for a voucher, and what its row then says (SPEC 7.6, 7.7, 9.2)."""

from dataclasses import replace
from typing import Any

import pytest

from bombyx.errors import (
    BombyxError,
    ChannelBooks,
    ChannelClosed,
    ChannelClosing,
    ChannelRolledBack,
    CloseInFlight,
    CloseNotAsked,
    CloseTermsRefused,
    DepositTooLow,
    VoucherRequired,
)
from bombyx.money.channel.acceptance import (
    CLOCK_MARGIN_S,
    ChannelRow,
    claimed,
    close_asked,
    close_started,
    closed,
    need,
    reopened,
    reserve,
    rolled_back,
    settle,
    sign_close_terms,
    top_up,
)
from tests.bombyx.money.channel.parties import NOW, ceiling

EMPTY = ChannelRow(deposited=1_000)
HELD = reserve(EMPTY, 100, offered=ceiling(400))
CLOSING = close_asked(settle(HELD, 100, charge=60))


@pytest.mark.spec("7.6-b")
def test_a_request_is_served_within_ceiling_and_deposit() -> None:
    assert (HELD.reserved, HELD.ceiling.amount) == (100, 400)
    assert reserve(HELD, 300).reserved == 400
    with pytest.raises(VoucherRequired):
        reserve(HELD, 301)
    assert reserve(HELD, 301, offered=ceiling(401)).reserved == 401


@pytest.mark.spec("7.6-b")
def test_a_voucher_above_the_deposit_does_not_stretch_it() -> None:
    assert reserve(HELD, 900, offered=ceiling(5_000)).reserved == 1_000
    with pytest.raises(DepositTooLow):
        reserve(HELD, 901, offered=ceiling(5_000))


@pytest.mark.spec("7.6-c")
def test_vouchers_overtake_each_other_without_harm() -> None:
    for late in (ceiling(0), ceiling(399), ceiling(400, 1), None):
        assert reserve(HELD, 1, offered=late).ceiling == HELD.ceiling


def test_a_refused_request_changes_nothing() -> None:
    with pytest.raises(VoucherRequired):
        reserve(HELD, 500, offered=ceiling(500))
    assert need(HELD, 500) == 600


@pytest.mark.spec("7.7-a")
def test_a_settled_request_leaves_its_charge_and_frees_the_rest() -> None:
    after = settle(HELD, 100, charge=60)
    assert (after.charged, after.reserved, after.unclaimed) == (60, 0, 60)
    assert settle(HELD, 100, charge=0) == replace(HELD, reserved=0)


@pytest.mark.parametrize(("held", "charge"), [(100, 101), (100, -1), (101, 5)])
def test_a_charge_beyond_its_reserve_is_no_settlement(held: int, charge: int) -> None:
    with pytest.raises(ChannelBooks):
        settle(HELD, held, charge=charge)


@pytest.mark.parametrize(
    "fields",
    [
        {"deposited": -1},
        {"reserved": 1},
        {"deposited": 5, "ceiling": ceiling(9), "charged": 6},
        {"deposited": 9, "ceiling": ceiling(5), "charged": 6},
        {"deposited": 9, "ceiling": ceiling(9), "charged": 5, "reserved": 5},
        {"deposited": 9, "ceiling": ceiling(9), "charged": 5, "claimed": 6},
    ],
)
def test_books_that_contradict_themselves_are_not_made(fields: dict[str, Any]) -> None:
    with pytest.raises(ChannelBooks):
        ChannelRow(**fields)


def test_a_negative_cost_frees_no_reserve() -> None:
    with pytest.raises(ChannelBooks):
        reserve(HELD, -1)


def test_a_provider_that_lags_takes_no_deposit_away() -> None:
    assert top_up(HELD, 1_500).deposited == 1_500
    assert top_up(HELD, 999) == HELD


@pytest.mark.spec("9.1-c")
def test_nothing_new_is_served_once_a_close_was_seen_or_asked_for() -> None:
    for row in (close_asked(HELD), close_started(HELD, NOW)):
        with pytest.raises(ChannelClosing):
            reserve(row, 1)
        assert settle(row, 100, charge=100).charged == 100


def test_of_two_reports_of_a_close_the_earlier_time_counts() -> None:
    row = close_started(close_started(HELD, NOW + 5), NOW)
    assert row.close_at == close_started(row, NOW + 9).close_at == NOW
    with pytest.raises(ChannelBooks):
        close_started(HELD, 0)


@pytest.mark.spec("9.4-b")
def test_a_closed_channel_is_never_used_again() -> None:
    row = closed(HELD)
    with pytest.raises(ChannelClosed):
        reserve(top_up(row, 10_000), 1, offered=ceiling(9_000))
    with pytest.raises(ChannelClosed):
        close_asked(row)
    with pytest.raises(ChannelClosed):
        sign_close_terms(row, 0, valid_until=NOW + 1, now=NOW)
    with pytest.raises(ChannelClosing):
        reopened(row, now=NOW)
    assert settle(row, 100, charge=7).charged == 7


@pytest.mark.spec("9.2-a")
def test_terms_are_signed_for_what_was_charged_and_ten_minutes() -> None:
    row = sign_close_terms(CLOSING, 60, valid_until=NOW + 600, now=NOW)
    assert row.terms_until == NOW + 600
    again = sign_close_terms(row, 60, valid_until=NOW + 1, now=NOW)
    assert again.terms_until == NOW + 600


@pytest.mark.spec("9.2-a")
@pytest.mark.parametrize(
    ("row", "amount", "until", "error"),
    [
        (settle(HELD, 100, charge=60), 60, NOW + 600, CloseNotAsked),
        (close_asked(HELD), 0, NOW + 600, CloseInFlight),
        (CLOSING, 59, NOW + 600, CloseTermsRefused),
        (CLOSING, 61, NOW + 600, CloseTermsRefused),
        (CLOSING, 60, NOW + 601, CloseTermsRefused),
        (CLOSING, 60, NOW, CloseTermsRefused),
    ],
)
def test_no_other_terms_are_signed(
    row: ChannelRow, amount: int, until: int, error: type[BombyxError]
) -> None:
    with pytest.raises(error):
        sign_close_terms(row, amount, valid_until=until, now=NOW)


@pytest.mark.spec("9.2-b")
def test_a_channel_stays_shut_until_its_terms_are_dead_for_the_chain_too() -> None:
    row = sign_close_terms(CLOSING, 60, valid_until=NOW + 600, now=NOW)
    with pytest.raises(ChannelClosing):
        reopened(row, now=NOW + 600 + CLOCK_MARGIN_S)
    open_again = reopened(row, now=NOW + 601 + CLOCK_MARGIN_S)
    assert reserve(open_again, 1).reserved == 1
    with pytest.raises(ChannelClosing):
        reopened(close_started(row, NOW), now=NOW + 10**6)


@pytest.mark.spec("7.7-b")
def test_books_that_know_less_than_the_chain_halt() -> None:
    row = settle(HELD, 100, charge=60)
    assert claimed(row, 60).claimed == 60
    assert claimed(claimed(row, 60), 30).claimed == 60
    with pytest.raises(ChannelRolledBack):
        claimed(row, 61)
    halted = rolled_back(reserve(row, 5), 61)
    assert (halted.claimed, halted.unclaimed) == (61, 0)
    with pytest.raises(ChannelRolledBack):
        reserve(halted, 1)
    with pytest.raises(ChannelRolledBack):
        sign_close_terms(close_asked(halted), 60, valid_until=NOW + 1, now=NOW)
    assert settle(halted, 5, charge=5).charged == 65
