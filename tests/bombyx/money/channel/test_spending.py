"""What a client signs, and what of a gateway's word moves it (SPEC 7.9)."""

from dataclasses import replace
from typing import Any

import pytest

from bombyx.errors import (
    BombyxError,
    ChannelBooks,
    ChannelClosing,
    ChannelHalted,
    CommitmentConflict,
    DailyCap,
    DepositCap,
    DepositTooLow,
    GatewayLied,
    InflightCap,
    PaymentRefused,
    ProofRefused,
    TopUpRefused,
    UnprovenCharges,
)
from bombyx.money.channel.spending import (
    DAY_S,
    KEEP_LAPSED_S,
    Purse,
    Saved,
    closing,
    forget,
    halted,
    lapse,
    never_ran,
    overdue,
    plan_top_up,
    prove,
    refused,
    spend,
    top_up_failed,
    topped_up,
    voucher,
)
from bombyx.money.channel.terms import Claimed, check_offered
from bombyx.money.statement import Status
from tests.bombyx.money.channel.parties import (
    CAPS,
    CHANNEL,
    CLIENT,
    DEADLINE,
    GATEWAY,
    IDENTITY,
    NOW,
    PAYER,
    STRANGER,
    receipt,
)
from tests.factories import seed

FRESH = Purse(deposited=10_000)
C1, C2, C3 = seed("c1"), seed("c2"), seed("c3")


def ask(purse: Purse, c: bytes = C1, cost: int = 100, now: int = NOW) -> Purse:
    after, _ = spend(purse, CAPS, c=c, cost=cost, deadline=now + 1_500, now=now)
    return after


def proven(purse: Purse, c: bytes, charge: int, now: int = NOW, **fields: Any) -> Purse:
    document = receipt(c, charge, **fields)
    return prove(purse, document, payer=PAYER, gateway=IDENTITY, now=now)


def said(purse: Purse, **fields: int | str) -> Claimed:
    """What an honest gateway says that lost our last voucher."""
    values: dict[str, Any] = {
        "error": "voucher_required",
        "deposited": purse.deposited,
        "charged": 0,
        "reserved": 0,
        "need": purse.reserved,
        "ceiling": 0,
    }
    return Claimed(**values | fields)


@pytest.mark.spec("7.9-a")
def test_a_voucher_covers_four_requests_ahead_and_the_next_need_none() -> None:
    purse, must_send = spend(FRESH, CAPS, c=C1, cost=100, deadline=DEADLINE, now=NOW)
    assert (purse.signed_max, must_send) == (400, True)
    second, must_send = spend(purse, CAPS, c=C2, cost=300, deadline=DEADLINE, now=NOW)
    assert (second.signed_max, must_send) == (400, False)


@pytest.mark.spec("7.9-a")
def test_no_more_is_at_risk_than_the_owner_allows() -> None:
    purse = ask(FRESH, cost=900)
    assert purse.signed_max == purse.at_risk == CAPS.max_inflight
    with pytest.raises(InflightCap):
        ask(purse, C2, cost=101)
    assert ask(purse, C2, cost=100).signed_max == 1_000


@pytest.mark.spec("7.9-i")
def test_what_the_gateway_may_not_have_settled_yet_is_signed_for_and_never_beyond_the_cap() -> None:
    def lagging(purse: Purse, lag: int) -> int:
        after, is_new = spend(purse, CAPS, c=C2, cost=100, deadline=NOW + 1_500, now=NOW, lag=lag)
        assert is_new == (after.signed_max > purse.signed_max)
        return after.signed_max

    signed = proven(ask(FRESH), C1, 10)
    assert signed.signed_max == 400
    assert lagging(signed, 290) == 400
    assert lagging(signed, 291) == 10 + 400 + 291
    assert lagging(signed, 10**6) == 10 + CAPS.max_inflight
    assert lagging(replace(signed, deposited=500), 10**6) == 500


def test_no_more_is_signed_than_is_deposited() -> None:
    poor = Purse(deposited=250)
    assert ask(poor).signed_max == 250
    with pytest.raises(DepositTooLow):
        ask(poor, cost=251)


@pytest.mark.spec("7.9-a")
def test_a_day_has_its_limit_and_gives_back_what_was_not_charged() -> None:
    caps = replace(CAPS, max_daily=250)
    first, _ = spend(FRESH, caps, c=C1, cost=200, deadline=DEADLINE, now=NOW)
    with pytest.raises(DailyCap):
        spend(first, caps, c=C2, cost=51, deadline=DEADLINE, now=NOW)
    after = proven(first, C1, 20)
    assert after.spent_today == 20
    assert spend(after, caps, c=C2, cost=230, deadline=DEADLINE, now=NOW)[0].spent_today == 250


def test_a_new_day_begins_with_nothing_and_a_clock_set_back_begins_none() -> None:
    purse = ask(FRESH)
    tomorrow = ask(purse, C2, now=NOW + DAY_S)
    assert tomorrow.spent_today == 100
    assert ask(tomorrow, C3, now=NOW).spent_today == 200
    assert proven(tomorrow, C1, 0).spent_today == 100


def test_a_retry_sends_the_same_and_reserves_nothing_twice() -> None:
    purse = ask(FRESH)
    assert spend(purse, CAPS, c=C1, cost=100, deadline=DEADLINE, now=NOW) == (purse, False)
    for known in (purse, lapse(purse, C1)):
        with pytest.raises(CommitmentConflict):
            ask(known, cost=99)


def test_a_request_that_lapsed_may_be_asked_again_and_counts_once_a_day() -> None:
    purse = lapse(ask(FRESH), C1)
    assert (purse.reserved, list(purse.lapsed)) == (0, [C1])
    again = ask(purse)
    assert (again.reserved, again.lapsed, again.spent_today) == (100, {}, 100)
    assert ask(purse, now=NOW + DAY_S).spent_today == 100


@pytest.mark.parametrize("field", ["deposited", "signed_max", "proven", "topping_up"])
def test_books_are_never_below_zero(field: str) -> None:
    negative: dict[str, Any] = {field: -1}
    with pytest.raises(ChannelBooks):
        Purse(**negative)
    with pytest.raises(ChannelBooks):
        ask(FRESH, cost=-1)


@pytest.mark.spec("7.9-b")
def test_what_a_saved_purse_signs_the_gateway_accepts_and_is_always_the_same() -> None:
    saved = Saved(ask(FRESH))
    sent = voucher(saved, CHANNEL, CLIENT)
    assert sent == voucher(saved, CHANNEL, CLIENT)
    assert check_offered(sent, CHANNEL).amount == saved.signed_max


@pytest.mark.spec("7.9-c")
def test_a_receipt_counts_once_and_frees_the_rest() -> None:
    purse = proven(ask(ask(FRESH), C2), C1, 30)
    assert (purse.proven, purse.reserved, list(purse.inflight)) == (30, 100, [C2])
    with pytest.raises(ProofRefused):
        proven(purse, C1, 30)


@pytest.mark.spec("7.9-c")
@pytest.mark.parametrize(
    "fields",
    [
        {"payer": seed("another").hex()},
        {"gateway": seed("another").hex()},
        {"charge_nano": "101"},
        {"status": Status.PARTIAL},
    ],
)
def test_another_receipt_proves_nothing(fields: dict[str, Any]) -> None:
    with pytest.raises(ProofRefused):
        proven(ask(FRESH), C1, 30, **fields)
    with pytest.raises(ProofRefused):
        proven(ask(FRESH), C3, 30)


@pytest.mark.spec("7.9-c")
def test_a_partial_receipt_counts_after_the_deadline() -> None:
    purse = proven(ask(FRESH), C1, 30, now=NOW + 1_501, status=Status.PARTIAL)
    assert purse.proven == 30


@pytest.mark.spec("7.9-d")
def test_an_answer_that_was_lost_lapses_and_may_still_be_proven() -> None:
    purse = ask(FRESH)
    assert overdue(purse, now=NOW + 1_500) == []
    assert overdue(purse, now=NOW + 1_501) == [C1]
    gone = lapse(purse, C1)
    assert lapse(gone, C1) == gone
    assert proven(gone, C1, 40).proven == 40
    assert proven(gone, C1, 40).lapsed == {}


def test_what_lapsed_long_ago_is_forgotten() -> None:
    gone = lapse(ask(FRESH), C1)
    assert forget(gone, now=NOW + 1_500 + KEEP_LAPSED_S) is gone
    later = forget(gone, now=NOW + 1_501 + KEEP_LAPSED_S)
    assert later.lapsed == {}
    with pytest.raises(ProofRefused):
        proven(later, C1, 40)


@pytest.mark.spec("7.9-d")
def test_a_request_that_provably_never_ran_leaves_nothing() -> None:
    for purse in (ask(FRESH), lapse(ask(FRESH), C1)):
        after = never_ran(purse, C1)
        assert (after.inflight, after.lapsed, after.spent_today) == ({}, {}, 0)
        assert never_ran(after, C1) == after


@pytest.mark.spec("7.9-e")
def test_a_lost_voucher_is_sent_again_and_only_once() -> None:
    purse = ask(FRESH)
    after = refused(purse, CAPS, said(purse), c=C1)
    assert after.signed_max == purse.signed_max
    with pytest.raises(PaymentRefused):
        refused(after, CAPS, said(purse), c=C1)
    with pytest.raises(PaymentRefused):
        refused(purse, CAPS, said(purse), c=C2)


@pytest.mark.spec("7.9-e")
@pytest.mark.parametrize("need", [101, 10_000, 10**17])
def test_a_402_never_raises_what_is_signed(need: int) -> None:
    purse = replace(ask(FRESH), deposited=10**18 - 1)
    lie = said(purse, need=need, reserved=need - 100)
    assert refused(purse, CAPS, lie, c=C1).signed_max == purse.signed_max


@pytest.mark.spec("7.9-e")
def test_a_ceiling_that_we_forgot_is_ours_and_no_reason_to_sign_more() -> None:
    purse = ask(FRESH)
    shown = said(purse, ceiling=700, need=800, reserved=700)
    after = refused(purse, CAPS, shown, c=C1)
    assert after.signed_max == 700
    assert ask(after, C2, cost=600).signed_max == 700


@pytest.mark.spec("7.9-f")
def test_charges_that_nobody_asked_for_halt_the_channel() -> None:
    purse = proven(ask(ask(FRESH), C2), C1, 30)
    assert refused(purse, CAPS, said(purse, charged=130, need=230), c=C2).signed_max == 400
    with pytest.raises(GatewayLied) as caught:
        refused(purse, CAPS, said(purse, charged=131, need=231), c=C2)
    stopped = halted(halted(purse, caught.value.code), "later")
    assert stopped.alarm == "gateway_lied"
    for act in (
        lambda: ask(stopped, C3),
        lambda: voucher(Saved(stopped), CHANNEL, CLIENT),
        lambda: refused(stopped, CAPS, said(purse), c=C2),
        lambda: topping(stopped),
    ):
        with pytest.raises(ChannelHalted):
            act()
    assert proven(stopped, C2, 5).proven == 35


@pytest.mark.spec("7.9-f")
def test_charges_of_lost_answers_are_asked_for_before_anybody_is_called_a_liar() -> None:
    purse = ask(lapse(ask(FRESH), C1), C2)
    for charged in (101, 200):
        with pytest.raises(UnprovenCharges):
            refused(purse, CAPS, said(purse, charged=charged, need=charged + 100), c=C2)
    with pytest.raises(GatewayLied):
        refused(purse, CAPS, said(purse, charged=201, need=301), c=C2)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"error": "channel_closing"}, ChannelClosing),
        ({"error": "channel_closed"}, ChannelClosing),
        ({"deposited": 99}, DepositTooLow),
        ({"ceiling": 100}, PaymentRefused),
    ],
)
def test_a_402_that_a_voucher_cannot_answer_is_not_answered(
    fields: dict[str, Any], error: type[BombyxError]
) -> None:
    purse = ask(FRESH)
    with pytest.raises(error):
        refused(purse, CAPS, said(purse, **fields), c=C1)


def test_a_channel_that_ends_takes_no_new_requests() -> None:
    purse = closing(ask(FRESH))
    for act in (lambda: ask(purse, C2), lambda: topping(purse)):
        with pytest.raises(ChannelClosing):
            act()
    assert proven(purse, C1, 30).proven == 30


def topping(purse: Purse, cost: int = 100, **fields: Any) -> tuple[Purse, int]:
    values: dict[str, Any] = {
        "to": CHANNEL.account,
        "gateways": frozenset({GATEWAY.public_key}),
        "wanted": 0,
    }
    return plan_top_up(purse, CAPS, cost=cost, channel=CHANNEL, **values | fields)


@pytest.mark.spec("7.9-g")
@pytest.mark.parametrize(
    "fields",
    [
        {"to": bytes(32)},
        {"gateways": frozenset()},
        {"gateways": frozenset({STRANGER.public_key})},
    ],
)
def test_money_goes_to_channels_of_known_gateways_alone(fields: dict[str, Any]) -> None:
    with pytest.raises(TopUpRefused):
        topping(Purse(), **fields)


@pytest.mark.spec("7.9-g")
def test_a_top_up_is_what_is_missing_or_wanted_and_within_the_cap() -> None:
    assert topping(FRESH) == (FRESH, 0)
    assert topping(Purse(), cost=99)[1] == CAPS.min_top_up
    assert topping(Purse(), cost=150)[1] == 150
    assert topping(Purse(), wanted=5_000)[1] == 5_000
    assert topping(Purse(), wanted=10**9)[1] == CAPS.max_deposit
    with pytest.raises(DepositCap):
        topping(Purse(), cost=CAPS.max_deposit + 1)


def test_money_on_its_way_is_not_sent_twice() -> None:
    sent, amount = topping(Purse(), wanted=1_000)
    assert (sent.topping_up, amount) == (1_000, 1_000)
    assert topping(sent) == (sent, 0)
    there = topped_up(sent, 400)
    assert (there.deposited, there.topping_up) == (400, 600)
    assert topped_up(there, 300) == there
    assert topped_up(there, 1_500).topping_up == 0
    assert topping(top_up_failed(sent))[1] == 100
