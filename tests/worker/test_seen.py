"""SPEC 4: a commitment is taken once, whatever the clock does; forgetting raises the floor."""

import contextlib

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bombyx.errors import ReplayedRequest, WorkerBusy
from worker.seen import KEEP_SECONDS, Seen

T = 10_000


def c(number: int) -> bytes:
    return number.to_bytes(32)


def test_a_commitment_is_kept_until_600_seconds_after_it_was_issued() -> None:
    seen = Seen()
    seen.insert(c(1), issued_at=T, now=T)
    seen.purge(T + KEEP_SECONDS - 1)
    assert c(1) in seen
    assert seen.floor == -1
    seen.purge(T + KEEP_SECONDS)
    assert c(1) not in seen
    assert seen.floor == T


@pytest.mark.spec("4-f")
def test_nothing_up_to_the_floor_is_taken() -> None:
    seen = Seen()
    seen.insert(c(1), issued_at=T, now=T)
    seen.purge(T + KEEP_SECONDS)
    for issued_at in (T - 1, T):
        with pytest.raises(ReplayedRequest):
            seen.insert(c(2), issued_at=issued_at, now=T)
    seen.insert(c(2), issued_at=T + 1, now=T)


@pytest.mark.spec("4-e")
def test_a_full_store_is_busy_until_something_is_forgotten() -> None:
    seen = Seen(capacity=2)
    seen.insert(c(1), issued_at=T, now=T)
    seen.insert(c(2), issued_at=T + 1, now=T)
    with pytest.raises(WorkerBusy):
        seen.insert(c(3), issued_at=T + 2, now=T)
    assert c(3) not in seen
    seen.insert(c(3), issued_at=T + 2, now=T + KEEP_SECONDS)
    assert len(seen) == 2


@pytest.mark.spec("4-f")
def test_what_is_too_old_to_be_kept_raises_the_floor_at_once() -> None:
    seen = Seen()
    seen.insert(c(1), issued_at=T - KEEP_SECONDS, now=T)
    assert len(seen) == 0
    with pytest.raises(ReplayedRequest):
        seen.insert(c(1), issued_at=T - KEEP_SECONDS, now=T - 1000)


class Replays(RuleBasedStateMachine):
    """An adversary with a few commitments and power over the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = Seen(capacity=4)
        self.now = T
        self.taken: set[bytes] = set()
        self.floor = -1

    @rule(number=st.integers(0, 8))
    def send(self, number: int) -> None:
        with contextlib.suppress(ReplayedRequest, WorkerBusy):
            # `issued_at` is inside what c commits to: one c, one time.
            issued_at = T + 100 * number
            self.seen.insert(c(number), issued_at=issued_at, now=self.now)
            assert c(number) not in self.taken
            self.taken.add(c(number))

    @rule(seconds=st.integers(-2000, 2000))
    def turn_the_clock(self, seconds: int) -> None:
        self.now = max(0, self.now + seconds)

    @rule()
    def purge(self) -> None:
        self.seen.purge(self.now)

    @invariant()
    def the_floor_never_falls(self) -> None:
        assert self.seen.floor >= self.floor
        self.floor = self.seen.floor

    @invariant()
    def the_store_is_bounded(self) -> None:
        assert len(self.seen) <= 4


Replays.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestReplays = Replays.TestCase
