"""What a gateway serves for a voucher, and what its row then says (SPEC 7.6, 7.7, 9.2)."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    check_end,
    claimed,
    close_asked,
    close_started,
    closed,
    end_asked,
    need,
    reopened,
    reserve,
    resumed,
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


# --- An end by the gateway (SPEC 9.3) ---


@pytest.mark.spec("9.3-b")
def test_an_end_that_the_operator_asked_for_is_not_taken_back() -> None:
    row = end_asked(HELD)
    assert (row.closing, row.ending) == (True, True)
    assert end_asked(row) == row
    for now in (NOW, NOW + 10**9):
        with pytest.raises(ChannelClosing):
            reopened(row, now=now)
    with pytest.raises(ChannelClosing):
        reserve(row, 1)
    with pytest.raises(CloseInFlight):
        check_end(row)
    check_end(settle(row, 100, charge=60))


def test_without_a_voucher_an_end_is_the_client_s_to_ask_for_and_to_take_back() -> None:
    row = end_asked(EMPTY)
    assert (row.closing, row.ending) == (True, False)
    with pytest.raises(CloseNotAsked):
        check_end(row)
    assert reopened(row, now=NOW) == EMPTY
    with pytest.raises(CloseNotAsked):
        check_end(HELD)


def test_what_is_halted_or_closed_is_ended_by_nobody() -> None:
    for row, refusal in ((rolled_back(HELD, 1), ChannelRolledBack), (closed(HELD), ChannelClosed)):
        for step in (end_asked, check_end):
            with pytest.raises(refusal):
                step(row)


# --- After a halt (SPEC 7.7) ---

HALTED = rolled_back(settle(HELD, 100, charge=60), 400)
"""60 were charged by these books; the chain paid 400, for a voucher over 500."""


@pytest.mark.spec("7.7-c")
def test_what_the_chain_paid_counts_as_charged_once_a_person_has_looked() -> None:
    row = resumed(HALTED, 400, held=ceiling(500))
    assert (row.charged, row.claimed, row.ceiling) == (400, 400, ceiling(500))
    assert (row.halted, row.unclaimed) == (False, 0)
    assert reserve(row, 100).reserved == 100
    assert resumed(row, 900, held=ceiling(900)) == row


@pytest.mark.spec("7.7-c")
def test_nothing_is_resumed_while_requests_run_or_after_the_end() -> None:
    with pytest.raises(CloseInFlight):
        resumed(rolled_back(HELD, 300), 300, held=ceiling(500))
    with pytest.raises(ChannelClosed):
        resumed(closed(HALTED), 400, held=ceiling(500))


@pytest.mark.spec("7.7-c")
@pytest.mark.parametrize(("paid", "voucher"), [(400, 399), (400, 0), (1_001, 2_000)])
def test_nothing_is_resumed_without_voucher_and_deposit_for_it(paid: int, voucher: int) -> None:
    row = rolled_back(replace(HALTED, ceiling=ceiling(60)), paid)
    with pytest.raises(ChannelRolledBack):
        resumed(row, 0, held=ceiling(voucher))


@pytest.mark.spec("7.7-c")
@given(
    deposited=st.integers(0, 50),
    charged=st.integers(0, 50),
    held=st.integers(0, 50),
    claimed_=st.integers(0, 50),
    total=st.integers(0, 50),
    shown=st.integers(0, 50),
    closing=st.booleans(),
)
def test_resuming_lowers_nothing_and_leaves_books_that_hold(
    deposited: int,
    charged: int,
    held: int,
    claimed_: int,
    total: int,
    shown: int,
    *,
    closing: bool,
) -> None:
    try:
        row = ChannelRow(
            deposited=deposited,
            charged=charged,
            ceiling=ceiling(held),
            claimed=claimed_,
            closing=closing,
            halted=True,
        )
        after = resumed(row, total, held=ceiling(shown))
    except (ChannelBooks, ChannelRolledBack):
        return
    assert after.charged == max(charged, claimed_, total)
    assert after.claimed == max(claimed_, total)
    assert after.ceiling.amount == max(held, shown)
    assert (after.deposited, after.closing, after.halted) == (deposited, closing, False)
    assert after.claimed <= after.charged <= min(after.ceiling.amount, after.deposited)
