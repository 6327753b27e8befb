"""Reputation per (owner, platform id), fading (SPEC 13.4)."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing import standing as standings
from gateway.routing.breaker import FAILURES_IN_A_ROW, State
from gateway.routing.standing import (
    GROWTH,
    HALF_LIFE_SECONDS,
    LATE_FACTOR,
    LATE_SECONDS,
    MOST_ALLOWED,
    NEWCOMER_SLOTS,
    PRIOR_SUCCESS,
    PRIOR_TOKENS_PER_SECOND,
    PRIOR_TTFT_SECONDS,
    Standing,
    Standings,
)


def answers(standing: Standing, count: int, *, now: float = 0.0, ttft: float = 0.2) -> None:
    for _ in range(count):
        standing.asked(now)
        standing.heard(now, ttft=ttft)
        standing.succeed(now, total=ttft + 2.0, generating=2.0, tokens=200)


def test_a_newcomer_starts_at_the_low_prior_with_few_slots() -> None:
    new = Standing()
    assert new.success == PRIOR_SUCCESS
    assert (new.ttft, new.tokens_per_second) == (PRIOR_TTFT_SECONDS, PRIOR_TOKENS_PER_SECOND)
    assert new.allowance == NEWCOMER_SLOTS
    good = Standing()
    answers(good, 50)
    assert good.success > new.success
    assert good.seconds(0) < new.seconds(0)
    assert good.allowance == NEWCOMER_SLOTS + 50 * GROWTH


def test_time_to_first_token_and_speed_are_learnt_from_streams() -> None:
    one = Standing()
    answers(one, 1000)
    assert one.ttft == pytest.approx(0.2, rel=0.05)
    assert one.tokens_per_second == pytest.approx(100, rel=0.05)


def test_a_newcomer_is_held_back_at_few_requests_and_a_proven_one_at_more() -> None:
    one = Standing()
    assert [one.held_back(running, 0) for running in (0, 3, 4)] == [False, False, True]
    answers(one, 50)
    assert not one.held_back(20, 0)
    assert one.held_back(100, 0)
    one.allowance = MOST_ALLOWED
    answers(one, 1)
    assert one.allowance == MOST_ALLOWED


def test_late_first_tokens_tell_how_many_it_really_runs() -> None:
    one = Standing()
    answers(one, 100)
    assert one.allowance > 50
    answers(one, 20, ttft=10.0)
    assert one.allowance < 7
    answers(one, 10)
    assert 10 < one.allowance < 12


def test_what_is_late_is_measured_by_what_it_takes_of_late() -> None:
    one = Standing()
    answers(one, 20, ttft=0.1)
    answers(one, 300, ttft=10.0)
    assert one.allowance > 10


def test_one_that_is_silent_for_longer_than_ever_is_held_back() -> None:
    one = Standing()
    answers(one, 100)
    late = LATE_FACTOR * 0.2 + LATE_SECONDS
    one.asked(100)
    one.asked(100 + late / 2)
    assert not one.held_back(1, 100 + 0.9 * late)
    assert one.held_back(1, 100 + 1.5 * late)
    one.heard(100 + 1.5 * late, ttft=None)
    assert not one.held_back(1, 100 + 1.5 * late)
    one.heard(101 + 1.5 * late, ttft=None)
    assert not one.held_back(1, 1e9)


def test_one_odd_measurement_is_bounded() -> None:
    one = Standing()
    one.succeed(0, total=0.0, generating=0.0, tokens=2**40)
    assert one.tokens_per_second < 100_000
    one = Standing()
    one.succeed(0, total=1e6, generating=1e6, tokens=1)
    assert one.tokens_per_second > 0


def test_an_answer_without_tokens_tells_no_speed() -> None:
    one = Standing()
    one.succeed(0, total=0.1, generating=0.1, tokens=0)
    assert one.tokens_per_second == PRIOR_TOKENS_PER_SECOND
    assert one.success > PRIOR_SUCCESS


def test_failures_make_it_slower_to_expect_and_open_its_breaker() -> None:
    one = Standing()
    before = one.seconds(0)
    for _ in range(FAILURES_IN_A_ROW):
        one.fail(0)
    assert one.seconds(0) > 2 * before
    assert one.state(0) is State.OPEN
    assert one.failed == FAILURES_IN_A_ROW


@pytest.mark.spec("13.4-a")
@pytest.mark.parametrize("fault", ["client", "gateway", "unattributed"])
def test_refusals_that_are_not_its_fault_never_count(fault: str) -> None:
    one = Standing()
    for _ in range(100):
        one.refuse(0, fault=fault, code="header_mismatch")
    assert (one.success, one.state(0)) == (PRIOR_SUCCESS, State.CLOSED)
    assert one.refused == {fault: 100}


def test_refusals_by_its_fault_count_as_failures() -> None:
    one = Standing()
    for _ in range(FAILURES_IN_A_ROW):
        one.refuse(0, fault="worker", code="engine_failed")
    assert one.state(0) is State.OPEN


def test_one_that_is_full_is_not_broken_but_less_liked() -> None:
    one = Standing()
    for _ in range(100):
        one.refuse(0, fault="worker", code="busy")
    assert one.state(0) is State.CLOSED
    assert one.success < PRIOR_SUCCESS


def test_half_of_what_happened_is_forgotten_in_a_half_life() -> None:
    one = Standing()
    for _ in range(4):
        one.fail(0)
    assert one.success == pytest.approx(PRIOR_SUCCESS / 2)
    bad = one.seconds(1)
    assert one.seconds(HALF_LIFE_SECONDS) < bad
    assert one.success == pytest.approx(PRIOR_SUCCESS * 4 / 6)
    one.seconds(100 * HALF_LIFE_SECONDS)
    assert one.success == pytest.approx(PRIOR_SUCCESS)


def test_it_is_kept_by_owner_and_machine_over_links_and_keysets() -> None:
    book = Standings()
    one = book.of("owner", "machine")
    assert book.of("owner", "machine") is one
    assert book.of("owner", "other") is not one
    assert book.of("other", "machine") is not one
    assert len(book) == 3
    assert book.all()[0] is one


def test_the_longest_unseen_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standings, "MOST_REMEMBERED", 2)
    book = Standings()
    one, two = book.of("a", ""), book.of("b", "")
    assert book.of("a", "") is one
    book.of("c", "")
    assert book.of("a", "") is one
    assert book.of("b", "") is not two


_TIMES = st.floats(0, 1e6)


@given(st.lists(st.tuples(st.integers(0, 3), _TIMES, _TIMES, st.integers(0, 2**40))))
def test_no_history_leads_to_a_number_that_cannot_be_compared(
    history: list[tuple[int, float, float, int]],
) -> None:
    one = Standing()
    for what, now, seconds, tokens in history:
        match what:
            case 0:
                one.asked(now)
                one.heard(now, ttft=seconds)
            case 1:
                one.succeed(now, total=seconds, generating=seconds / 2, tokens=tokens)
            case 2:
                one.fail(now)
            case _:
                one.refuse(now, fault="worker", code="busy")
        assert 0 < one.success <= 1
        assert 0 < one.seconds(now) < math.inf
