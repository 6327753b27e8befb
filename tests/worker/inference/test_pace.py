"""SPEC 3.7: tokens wait for each other only while they come faster than every 25 ms."""

from worker.inference.pace import COALESCE_SECONDS, Pace


def test_the_first_tokens_are_never_held() -> None:
    pace = Pace()
    assert [pace.hold(n / 1000) for n in range(8)] == [0.0] * 8


def test_a_fast_stream_is_held_for_25_ms() -> None:
    pace = Pace()
    holds = [pace.hold(n * 0.02) for n in range(12)]
    assert holds[8:] == [COALESCE_SECONDS] * 4


def test_a_stream_of_25_ms_or_slower_is_sent_at_once() -> None:
    pace = Pace()
    assert [pace.hold(n * 0.025) for n in range(12)] == [0.0] * 12


def test_a_pause_ends_the_holding() -> None:
    pace = Pace()
    for n in range(12):
        pace.hold(n * 0.001)
    assert pace.hold(1.0) == 0.0
