"""SPEC 15: the bare tier's session secret and its counter."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from bombyx.envelope.keys import PublicSealingKey
from bombyx.envelope.session import (
    COUNTER_WINDOW,
    MAX_SESSION_REQUESTS,
    CounterWindow,
    request_keys,
    session_info,
    unwrap_session,
    wrap_session,
)
from bombyx.errors import CannotOpen, ReplayedRequest
from tests.factories import seed, worker

INFO = session_info(seed("w"), seed("g"), seed("s", 16))


@pytest.mark.spec("15-c")
def test_a_session_secret_reaches_its_worker_alone() -> None:
    public = PublicSealingKey.from_bytes(worker().sealing.public_bytes)
    blob = wrap_session(public, seed("session"), INFO)
    assert unwrap_session(worker().sealing, blob, INFO) == seed("session")
    for other in (
        session_info(seed("x"), seed("g"), seed("s", 16)),
        session_info(seed("w"), seed("x"), seed("s", 16)),
        session_info(seed("w"), seed("g"), seed("x", 16)),
    ):
        with pytest.raises(CannotOpen):
            unwrap_session(worker().sealing, blob, other)
    with pytest.raises(CannotOpen):
        unwrap_session(worker("other").sealing, blob, INFO)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_session_secret_has_32_bytes(size: int) -> None:
    public = PublicSealingKey.from_bytes(worker().sealing.public_bytes)
    with pytest.raises(CannotOpen, match="does not open"):
        unwrap_session(worker().sealing, wrap_session(public, bytes(size), INFO), INFO)


@pytest.mark.spec("15-d")
@given(st.integers(0, MAX_SESSION_REQUESTS - 1))
def test_request_keys_are_64_bytes_of_hkdf_expand(counter: int) -> None:
    info = b"req" + counter.to_bytes(8)
    both = HKDFExpand(hashes.SHA256(), 64, info).derive(seed("session"))
    keys = request_keys(seed("session"), counter)
    assert (keys.dek, keys.response_secret) == (both[:32], both[32:])


@pytest.mark.spec("15-e")
@given(st.lists(st.integers(0, 40), max_size=60))
def test_each_counter_is_accepted_once_in_any_order(counters: list[int]) -> None:
    window, accepted = CounterWindow(), set[int]()
    for counter in counters:
        if counter in accepted:
            with pytest.raises(ReplayedRequest):
                window.accept(counter)
        else:
            window.accept(counter)
            accepted.add(counter)


@pytest.mark.spec("15-e")
def test_a_counter_behind_the_window_or_beyond_the_limit_is_refused() -> None:
    window = CounterWindow()
    window.accept(COUNTER_WINDOW + 10)
    window.accept(11)
    for counter in (10, 0, MAX_SESSION_REQUESTS):
        with pytest.raises(ReplayedRequest):
            window.accept(counter)
    window.accept(MAX_SESSION_REQUESTS - 1)


def test_the_window_forgets_no_counter_that_it_would_accept_and_stays_small() -> None:
    window = CounterWindow()
    for counter in range(3 * COUNTER_WINDOW):
        window.accept(counter)
        assert len(window._seen) <= 2 * COUNTER_WINDOW + 1
    for counter in (0, COUNTER_WINDOW, 2 * COUNTER_WINDOW, 3 * COUNTER_WINDOW - 1):
        with pytest.raises(ReplayedRequest):
            window.accept(counter)
