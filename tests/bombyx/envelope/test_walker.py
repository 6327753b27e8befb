"""SPEC 3.4: what the gateway sees of an answer, and that it computes what the worker signed."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bombyx.envelope.frames import FrameType, encode_frame
from bombyx.envelope.walker import ResponseWalker, UsageNoted
from bombyx.errors import MalformedFrame
from tests.bombyx.envelope.answers import HEAD, SALT, STATEMENT, H, answer, sealer


@pytest.mark.spec("3.4-a", "3.4-b")
@given(st.lists(st.integers(0, 4000), max_size=12))
def test_the_gateway_computes_the_hash_and_length_that_the_worker_fixed(cuts: list[int]) -> None:
    sealing, walker = sealer(), ResponseWalker(H)
    raw = SALT + sealing.head(HEAD) + sealing.data(b"one")
    fixed = [sealing.fix()]
    raw += sealing.usage(b"partial") + sealing.data(b"two")
    fixed.append(sealing.fix())
    raw += sealing.usage(b"final") + sealing.end(STATEMENT)
    places = sorted(cut for cut in cuts if cut < len(raw))
    noted: list[UsageNoted] = []
    for start, end in zip([0, *places], [*places, len(raw)], strict=True):
        noted += walker.feed(raw[start:end])
    assert noted == [UsageNoted(b"partial", *fixed[0]), UsageNoted(b"final", *fixed[1])]
    assert walker.ended
    assert walker.position() == (hashlib.sha256(H + raw).digest(), len(raw))


def test_salt_and_head_are_no_answer_yet() -> None:
    walker = ResponseWalker(H)
    assert walker.position() == (hashlib.sha256(H).digest(), 0)
    first, data, usage, end = answer(b"one")
    walker.feed(first[:31])
    assert walker.position() == (hashlib.sha256(H).digest(), 0)
    walker.feed(first[31:])
    assert not walker.answered
    walker.feed(data[:-1])
    assert not walker.answered
    assert walker.position() == (hashlib.sha256(H + first).digest(), len(first))
    walker.feed(data[-1:])
    assert walker.answered
    walker.feed(usage + end)
    assert walker.ended


@pytest.mark.spec("3.5-a")
def test_a_worker_may_not_send_a_relay_note() -> None:
    walker = ResponseWalker(H)
    with pytest.raises(MalformedFrame, match="may not send"):
        walker.feed(answer()[0] + encode_frame(FrameType.RELAY_NOTE, 0, b""))


@pytest.mark.parametrize("extra", [b"\0", encode_frame(3, 0, b"")])
@pytest.mark.parametrize("together", [True, False])
def test_bytes_after_the_end_are_an_error(extra: bytes, *, together: bool) -> None:
    walker, raw = ResponseWalker(H), b"".join(answer(b"one"))
    if not together:
        walker.feed(raw)
    with pytest.raises(MalformedFrame):
        walker.feed(raw + extra if together else extra)


@pytest.mark.parametrize(("frame_type", "flags"), [(0, 1), (2, 1), (2, 2), (5, 0), (5, 3)])
def test_marks_that_the_client_would_refuse_are_refused(frame_type: int, flags: int) -> None:
    walker = ResponseWalker(H)
    with pytest.raises(MalformedFrame, match="final mark"):
        walker.feed(answer()[0] + encode_frame(frame_type, flags, b"x"))
