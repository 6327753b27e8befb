"""What a gateway owes, vouches for and deposits, and what a worker believes (SPEC 8)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bombyx.errors import ChannelBooks, Unpaid
from bombyx.money.channel.payout import (
    LEAST_DEPOSIT,
    UNSECURED_CREDIT,
    Earnings,
    Owed,
    admit,
    adopted,
    close_seen,
    credit_limit,
    deposit_now,
    deposit_wanted,
    dispatched,
    disposed,
    ended,
    from_new_channel,
    funded,
    funds_seen,
    journalled,
    owner_gap,
    paid,
    vouched,
    with_new_channel,
)
from tests.bombyx.money.channel.parties import ceiling


def billed(amount: int, deposited: int = 1_000) -> Owed:
    return ended(dispatched(Owed(deposited=deposited), amount), amount, billed=amount)


def earned(amount: int, deposited: int = 1_000) -> Earnings:
    ran = admit(Earnings(deposited=deposited), amount, limit=amount)
    return disposed(journalled(ran, amount, amount=amount), amount, is_owed=True)


@pytest.mark.spec("8.2-a")
def test_a_voucher_is_all_that_was_billed_as_far_as_the_deposit_reaches() -> None:
    owed = vouched(billed(300))
    assert (owed.vouched, owed.unpaid) == (300, 0)
    assert vouched(owed) is owed
    poor = vouched(billed(300, deposited=200))
    assert (poor.vouched, poor.unpaid) == (200, 100)
    assert vouched(funded(poor, 250)).vouched == 250
    assert funded(poor, 100) == poor


@pytest.mark.spec("8.1-a")
def test_a_voucher_that_comes_back_heals_restored_books() -> None:
    restored = adopted(Owed(billed=50, vouched=20, deposited=1_000), ceiling(300))
    assert (restored.billed, restored.vouched) == (300, 300)
    after = ended(dispatched(restored, 40), 40, billed=40)
    assert vouched(after).vouched == 340
    assert adopted(after, ceiling(100)) == after


@pytest.mark.spec("8.4-a")
def test_a_channel_is_opened_for_real_earnings_and_lasts_ten_minutes() -> None:
    assert deposit_wanted(Owed(billed=UNSECURED_CREDIT - 1), per_minute=10) == 0
    assert deposit_wanted(Owed(billed=UNSECURED_CREDIT), per_minute=10) == UNSECURED_CREDIT + 100
    busy = Owed(billed=5, deposited=1, in_flight=200)
    assert deposit_wanted(busy, per_minute=10) == 405


@pytest.mark.spec("8.4-a")
def test_a_deposit_comes_once_half_of_what_is_ahead_is_used() -> None:
    owed, much = Owed(billed=10 * LEAST_DEPOSIT), 100 * LEAST_DEPOSIT
    wanted = 30 * LEAST_DEPOSIT
    assert deposit_now(owed, 0, wanted=wanted, room=much) == wanted
    assert deposit_now(owed, 20 * LEAST_DEPOSIT, wanted=wanted, room=much) == 0
    half = 20 * LEAST_DEPOSIT - 1
    assert deposit_now(owed, half, wanted=wanted, room=much) == wanted - half
    # Never less than is worth its postage.
    assert deposit_now(owed, owed.billed, wanted=owed.billed + 1, room=much) == LEAST_DEPOSIT


@pytest.mark.spec("8.4-b")
@given(
    billed=st.integers(0, 10**12),
    ordered=st.integers(0, 10**12),
    ahead=st.integers(0, 10**12),
    room=st.integers(-(10**12), 10**12),
)
def test_no_deposit_is_above_the_room_that_its_operator_leaves(
    billed: int, ordered: int, ahead: int, room: int
) -> None:
    amount = deposit_now(Owed(billed=billed), ordered, wanted=billed + ahead, room=room)
    assert amount == 0 or LEAST_DEPOSIT <= amount <= room
    if room < LEAST_DEPOSIT:
        assert amount == 0


@pytest.mark.parametrize(
    "fields",
    [{"vouched": 1}, {"billed": -1}, {"deposited": -1}, {"in_flight": -1}, {"vouched": -1}],
)
def test_a_gateway_never_vouches_for_more_than_it_billed(fields: dict[str, Any]) -> None:
    with pytest.raises(ChannelBooks):
        Owed(**fields)


@pytest.mark.parametrize("field", ["pending", "billed", "in_flight", "deposited"])
def test_earnings_are_never_below_zero(field: str) -> None:
    negative: dict[str, Any] = {field: -1}
    with pytest.raises(ChannelBooks):
        Earnings(**negative)


@pytest.mark.parametrize("amount", [-1, 11])
def test_nobody_earns_beyond_the_worst_case(amount: int) -> None:
    with pytest.raises(ChannelBooks):
        ended(dispatched(Owed(), 10), 10, billed=amount)
    with pytest.raises(ChannelBooks):
        journalled(admit(Earnings(), 10, limit=10), 10, amount=amount)
    with pytest.raises(ChannelBooks):
        admit(Earnings(), -1, limit=10)


@pytest.mark.spec("8.3-b")
def test_the_limit_is_the_owners_or_what_deposit_and_credit_cover() -> None:
    earnings = paid(earned(300), ceiling(300))
    assert credit_limit(earnings, owner_limit=None, unsecured=50) == 750
    assert credit_limit(earnings, owner_limit=600, unsecured=50) == 600
    assert credit_limit(close_seen(earnings), owner_limit=None, unsecured=50) == 50


@pytest.mark.spec("8.3-a")
def test_what_is_unpaid_and_what_runs_stay_within_the_limit() -> None:
    earnings = journalled(admit(Earnings(), 60, limit=100), 60, amount=40)
    assert (earnings.unpaid, earnings.in_flight) == (40, 0)
    full = admit(earnings, 60, limit=100)
    with pytest.raises(Unpaid):
        admit(full, 1, limit=100)
    assert disposed(full, 40, is_owed=False).unpaid == 0


@pytest.mark.spec("8.3-c")
def test_a_voucher_covers_its_own_worker_at_most_and_only_by_its_rise() -> None:
    earnings = earned(100)
    assert paid(earnings, ceiling(70)).unpaid == 30
    both = paid(earnings, ceiling(170))
    assert (both.unpaid, both.best.amount) == (0, 170)
    for old in (ceiling(170), ceiling(20)):
        assert paid(both, old) == both


@pytest.mark.spec("8.3-c")
def test_a_voucher_beyond_the_deposit_covers_nothing_until_the_owner_sees_funds() -> None:
    earnings = paid(earned(100, deposited=30), ceiling(100))
    assert (earnings.unpaid, earnings.secured) == (70, 30)
    assert funds_seen(earnings, 20) == earnings
    assert funds_seen(earnings, 80).unpaid == 20


def test_another_channel_takes_over_what_is_not_covered() -> None:
    owed = with_new_channel(vouched(billed(300, deposited=200)))
    assert (owed.billed, owed.vouched, owed.deposited) == (100, 0, 0)
    earnings = from_new_channel(close_seen(paid(earned(300), ceiling(200))))
    assert (earnings.unpaid, earnings.best.amount, earnings.closing) == (100, 0, False)


@pytest.mark.spec("8.6-b")
def test_one_rise_that_two_workers_were_shown_is_seen_in_their_sum() -> None:
    both = [paid(earned(100), ceiling(100)) for _ in range(2)]
    assert [earnings.unpaid for earnings in both] == [0, 0]
    assert owner_gap(200, ceiling(100)) == 100
    assert owner_gap(100, ceiling(200)) == 0
