"""SPEC 2.9, 3.1, 3.6: frames and their limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bombyx.envelope.frames import (
    HEAD_BYTES,
    Frame,
    FrameSplitter,
    FrameType,
    aad,
    encode_frame,
)
from bombyx.errors import MalformedFrame
from tests.factories import seed

LIMITS = {
    0: 2**20,
    1: 2**20,
    2: 8192,
    3: 2**20,
    4: 8192,
    5: 8192,
    0x7F: 512,
}


def test_a_frame_is_type_flags_length_and_body() -> None:
    assert encode_frame(FrameType.END, 1, b"abc") == b"\x05\x01\x00\x00\x00\x03abc"


@pytest.mark.spec("2.9-e", "3.3-a")
def test_associated_data_is_h_seq_type_flags() -> None:
    assert aad(seed("h"), 258, 5, 1) == seed("h") + bytes(6) + b"\x01\x02\x05\x01"


frames = st.lists(
    st.tuples(st.sampled_from(list(FrameType)), st.integers(0, 255), st.binary(max_size=300)),
    max_size=8,
)


@given(frames, st.data())
def test_bytes_cut_anywhere_give_the_same_frames(
    sent: list[tuple[FrameType, int, bytes]], data: st.DataObject
) -> None:
    raw = b"".join(encode_frame(*frame) for frame in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=12)))
    splitter, got = FrameSplitter(), list[Frame]()
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        got += splitter.feed(raw[start:end])
    assert [(frame.type, frame.flags, frame.body) for frame in got] == sent
    assert b"".join(frame.raw for frame in got) == raw
    assert splitter.pending == 0


def test_one_byte_at_a_time_gives_the_same_frames() -> None:
    raw = encode_frame(0, 0, b"abc") + encode_frame(1, 0, b"") + encode_frame(5, 1, b"x" * 40)
    splitter, got = FrameSplitter(), list[Frame]()
    for at in range(len(raw)):
        assert (splitter.pending == 0) == (b"".join(frame.raw for frame in got) == raw[:at])
        got += splitter.feed(raw[at : at + 1])
    assert b"".join(frame.raw for frame in got) == raw


def test_a_frame_that_trickles_in_costs_no_copy_for_each_piece() -> None:
    splitter = FrameSplitter()
    raw = encode_frame(0, 0, bytes(2**20))
    for at in range(0, len(raw) - 64, 64):  # quadratic copying of 1 MiB would take minutes
        assert splitter.feed(raw[at : at + 64]) == []
    assert len(splitter.feed(raw[at + 64 :])) == 1


@pytest.mark.spec("3.6-a")
@pytest.mark.parametrize("frame_type", LIMITS)
def test_a_length_is_checked_before_the_body_is_there(frame_type: int) -> None:
    limit = LIMITS[frame_type]
    head = bytes([frame_type, 0])
    splitter = FrameSplitter()
    assert splitter.feed(head + limit.to_bytes(4)) == []
    assert splitter.pending == HEAD_BYTES
    with pytest.raises(MalformedFrame, match="at most"):
        FrameSplitter().feed(head + (limit + 1).to_bytes(4))


@pytest.mark.parametrize("frame_type", LIMITS)
def test_no_frame_is_made_that_no_reader_takes(frame_type: int) -> None:
    limit = LIMITS[frame_type]
    assert len(FrameSplitter().feed(encode_frame(frame_type, 0, bytes(limit)))) == 1
    with pytest.raises(ValueError, match="at most"):
        encode_frame(frame_type, 0, bytes(limit + 1))


@pytest.mark.spec("3.1-b")
@pytest.mark.parametrize("frame_type", sorted(set(range(256)) - set(LIMITS)))
def test_an_unknown_type_is_refused(frame_type: int) -> None:
    with pytest.raises(MalformedFrame, match="no frame type"):
        FrameSplitter().feed(bytes([frame_type, 0, 0, 0, 0, 0]))
