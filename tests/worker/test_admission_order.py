"""SPEC 4: of several broken rules the first decides; nothing odd fills the store."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from msgspec import UNSET, structs

from bombyx.envelope.header import Candidate
from bombyx.envelope.keys import DOES_NOT_OPEN
from bombyx.link.open import Open, WrappedKey
from tests.worker import test_admission
from tests.worker.sealing import chat, make_open
from tests.worker.test_admission import NOW, Bench
from worker.blame import Refused
from worker.seen import Seen

bench = test_admission.bench
"""The same worker as there."""

OTHER = "ab" * 32


@pytest.mark.spec("4-a")
async def test_each_step_is_judged_only_once_all_before_it_hold(bench: Bench) -> None:
    """One request that breaks a rule of every step, mended step by step."""
    candidate = bench.seal().header.header.candidates[0]
    wrong = [candidate_of(bench, worker=OTHER), candidate_of(bench, offer="00" * 32)]
    sealed = bench.seal(gateway=OTHER, issued_at=NOW - 400, candidates=wrong[:1])
    assert (await bench.refused(sealed, deadline=NOW)).code == "wrong_gateway"

    sealed = bench.seal(issued_at=NOW - 400, candidates=wrong[:1])
    assert (await bench.refused(sealed, deadline=NOW)).code == "request_timeout"
    assert (await bench.refused(sealed)).code == "clock_skew"

    sealed = bench.seal(candidates=wrong[:1])
    assert (await bench.refused(sealed, auth=bytes(64))).code == "no_candidate"
    sealed = bench.seal(candidates=wrong[1:])
    assert (await bench.refused(sealed, auth=bytes(64))).code == "stale_candidate"

    sealed = bench.seal(body=chat("say: hi", no_such_field=1), candidates=[candidate])
    spoilt = WrappedKey(sealed.wraps[0][::-1])
    assert (await bench.refused(sealed, auth=bytes(64), key=spoilt)).code == "cannot_open"
    sealed = bench.seal(body=chat("say: hi", no_such_field=1))
    assert (await bench.refused(sealed, auth=bytes(64))).code == "bad_auth"
    # Each of them was recorded when it was refused; one that nobody has seen comes to its body.
    assert (await bench.refused(sealed)).code == "replayed"
    sealed = bench.seal(body=chat("say: hi", no_such_field=1))
    assert (await bench.refused(sealed)).code == "unsupported_parameter"


def candidate_of(bench: Bench, **changes: str) -> Candidate:
    return structs.replace(bench.seal().header.header.candidates[0], **changes)


@pytest.mark.spec("4.5-a")
async def test_a_request_whose_body_was_refused_is_not_judged_again(bench: Bench) -> None:
    sealed = bench.seal(body=chat("say: hi", no_such_field=1))
    assert (await bench.refused(sealed)).code == "unsupported_parameter"
    assert (await bench.refused(sealed)).code == "replayed"


@pytest.mark.spec("4-d", "4-e")
async def test_a_request_of_the_far_future_does_not_stay_in_the_store(bench: Bench) -> None:
    """It would be kept until 600 s after its time, thus for ever, and the store is bounded."""
    sealed = bench.seal(gateway=OTHER, issued_at=2**52)
    refusal = await bench.refused(sealed)
    assert (refusal.code, refusal.c) == ("wrong_gateway", UNSET)
    assert len(bench.seen) == 0


@pytest.mark.spec("4-j")
async def test_a_clock_that_is_wrong_is_told_by_how_much_and_what_to_do(bench: Bench) -> None:
    for issued_at, words in ((NOW - 4000, "4000 s ago"), (NOW + 4000, "4000 s in the future")):
        request = make_open(bench.seal(issued_at=issued_at), now=NOW)
        with pytest.raises(Refused) as caught:
            await bench.submit(request, b"")
        message = str(caught.value.signed.message)
        assert words in message
        assert "set the clock right" in message
        assert "limit 300 s" in message


@pytest.mark.spec("4-f")
def test_the_floor_never_falls_whatever_the_clock_does() -> None:
    seen, highest = Seen(), -1
    clock = [1000, 5000, 900, 5000, 20_000, 10, 4000, 30_000]
    for number, now in enumerate(clock):
        c = bytes([number]) * 32
        if now > highest:
            seen.insert(c, issued_at=now, now=now)
        seen.purge(now)
        assert seen.floor >= highest
        highest = seen.floor


def _flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


SPOILT: dict[str, Callable[[Open, bytes, Bench], tuple[Open, bytes]]] = {
    "no wrap": lambda it, frames, _: (replace(it, key=WrappedKey(bytes(1200))), frames),
    "a changed wrap": lambda it, frames, _: (
        replace(it, key=WrappedKey(_flipped(it.key.wrap)))
        if isinstance(it.key, WrappedKey)
        else it,
        frames,
    ),
    "another request's wrap": lambda it, frames, bench: (
        replace(it, key=WrappedKey(bench.seal().wraps[0])),
        frames,
    ),
    "another commitment": lambda it, frames, _: (replace(it, c=bytes(32)), frames),
    "changed frames": lambda it, frames, _: (it, _flipped(frames)),
    "torn frames": lambda it, frames, _: (it, frames[:-1]),
}


@pytest.mark.spec("2.9-d")
@pytest.mark.parametrize("how", SPOILT)
async def test_a_refusal_tells_of_nothing_but_that_it_does_not_open(bench: Bench, how: str) -> None:
    """Of wrap, commitment and key nobody outside learns which one failed."""
    sealed = bench.seal()
    request, frames = SPOILT[how](make_open(sealed, now=NOW), sealed.frames, bench)
    with pytest.raises(Refused) as caught:
        await bench.submit(request, frames)
    signed = caught.value.signed
    said = (signed.refusal.code, signed.refusal.fault, signed.message)
    assert said == ("cannot_open", "unattributed", DOES_NOT_OPEN)
