"""Closed, open, half-open (DESIGN 7)."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.breaker import (
    FAILURES_IN_A_ROW,
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    PROBE_SECONDS,
    Breaker,
    State,
)


def opened(at: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES_IN_A_ROW):
        breaker.fail(at)
    return breaker


def test_failures_in_a_row_open_it() -> None:
    breaker = Breaker()
    for _ in range(FAILURES_IN_A_ROW - 1):
        breaker.fail(0)
    assert breaker.state(0) is State.CLOSED
    breaker.fail(0)
    assert breaker.state(0) is State.OPEN
    assert breaker.is_open(0)


def test_an_answer_between_them_keeps_it_closed() -> None:
    breaker = Breaker()
    for _ in range(10):
        for _ in range(FAILURES_IN_A_ROW - 1):
            breaker.fail(0)
        breaker.succeed()
    assert breaker.state(0) is State.CLOSED


def test_after_the_pause_it_is_half_open_and_one_at_a_time_may_try() -> None:
    breaker, later = opened(), FIRST_PAUSE_SECONDS
    assert breaker.state(later) is State.HALF_OPEN
    breaker.probe(later)
    assert breaker.state(later) is State.OPEN
    assert breaker.state(later + PROBE_SECONDS) is State.HALF_OPEN


def test_a_probe_of_a_closed_or_open_one_changes_nothing() -> None:
    breaker = Breaker()
    breaker.probe(0)
    assert breaker.state(0) is State.CLOSED
    breaker = opened()
    breaker.probe(1)
    assert breaker.state(FIRST_PAUSE_SECONDS) is State.HALF_OPEN


def test_an_answer_closes_it() -> None:
    breaker = opened()
    breaker.probe(FIRST_PAUSE_SECONDS)
    breaker.succeed()
    assert breaker.state(FIRST_PAUSE_SECONDS) is State.CLOSED


def test_a_failed_probe_opens_it_for_twice_as_long_up_to_a_limit() -> None:
    breaker, now, pauses = opened(), FIRST_PAUSE_SECONDS, []
    for _ in range(10):
        breaker.probe(now)
        breaker.fail(now)
        since = now
        while breaker.state(now) is State.OPEN:
            now += FIRST_PAUSE_SECONDS
        pauses.append(now - since)
    assert pauses[:3] == [2 * FIRST_PAUSE_SECONDS, 4 * FIRST_PAUSE_SECONDS, 8 * FIRST_PAUSE_SECONDS]
    assert max(pauses) == pauses[-1] == LONGEST_PAUSE_SECONDS


def test_what_fails_while_it_is_open_was_asked_before() -> None:
    breaker = opened()
    for _ in range(100):
        breaker.fail(1)
    assert breaker.state(FIRST_PAUSE_SECONDS) is State.HALF_OPEN


@given(st.lists(st.tuples(st.sampled_from(["ask", "fail", "succeed"]), st.floats(0, 400))))
def test_no_history_shuts_a_worker_out_for_longer_than_the_limit(
    steps: list[tuple[str, float]],
) -> None:
    breaker, now = Breaker(), 0.0
    for what, seconds in steps:
        now += seconds
        match what:
            case "ask":
                breaker.probe(now)
            case "fail":
                breaker.fail(now)
            case _:
                breaker.succeed()
                assert breaker.state(now) is State.CLOSED
    assert breaker.state(now + LONGEST_PAUSE_SECONDS) is not State.OPEN
