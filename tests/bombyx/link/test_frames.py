"""SPEC 10: link frames and messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bombyx.errors import LinkError
from bombyx.link.frames import (
    MAX_DOCUMENT_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_PAYLOAD_BYTES,
    MORE,
    LinkFrame,
    LinkType,
    Reassembler,
    encode_link_frame,
)


def test_a_frame_is_type_stream_length_and_payload() -> None:
    raw = encode_link_frame(LinkType.DATA, 258, b"abc")
    assert raw == b"\x06\x00\x00\x01\x02\x00\x00\x00\x03abc"


frames = st.lists(
    st.builds(
        LinkFrame, st.sampled_from(LinkType), st.integers(0, 2**32 - 1), st.binary(max_size=200)
    ),
    max_size=8,
)


@given(frames)
def test_a_message_holds_many_frames(sent: list[LinkFrame]) -> None:
    message = b"".join(encode_link_frame(*frame) for frame in sent)
    assert Reassembler().split(message) == sent


def test_a_document_may_span_frames_and_messages() -> None:
    reader = Reassembler()
    first = encode_link_frame(LinkType.IDENTIFY | MORE, 0, b"one ")
    between = encode_link_frame(LinkType.DATA, 7, b"data")
    second = encode_link_frame(LinkType.IDENTIFY | MORE, 0, b"two ")
    last = encode_link_frame(LinkType.IDENTIFY, 0, b"three")
    assert reader.split(first + between) == [LinkFrame(LinkType.DATA, 7, b"data")]
    assert reader.split(second) == []
    assert reader.split(last) == [LinkFrame(LinkType.IDENTIFY, 0, b"one two three")]
    assert reader.split(last) == [LinkFrame(LinkType.IDENTIFY, 0, b"three")]


@pytest.mark.spec("10.1-a", "10.1-b", "10.1-c")
@pytest.mark.parametrize(
    ("message", "why"),
    [
        (bytes(MAX_MESSAGE_BYTES + 1), "64 KiB"),
        (encode_link_frame(LinkType.DATA, 1, b"abc")[:8], "torn"),
        (encode_link_frame(LinkType.DATA, 1, b"abc")[:-1], "length"),
        (encode_link_frame(LinkType.DATA, 1, b"") + b"\x06", "torn"),
        (encode_link_frame(LinkType.DATA, 1, bytes(MAX_PAYLOAD_BYTES + 1)), "length"),
        (encode_link_frame(0, 0, b""), "no link frame type 0"),
        (encode_link_frame(21, 0, b""), "no link frame type 21"),
        (encode_link_frame(21 | MORE, 0, b""), "span"),
        (encode_link_frame(LinkType.DATA | MORE, 1, b""), "span"),
    ],
)
def test_a_message_that_breaks_the_format_is_refused(message: bytes, why: str) -> None:
    with pytest.raises(LinkError, match=why):
        Reassembler().split(message)


@pytest.mark.spec("10.1-c")
def test_a_document_is_at_most_2_mib() -> None:
    reader, piece = Reassembler(), bytes(MAX_PAYLOAD_BYTES)
    whole, rest = divmod(MAX_DOCUMENT_BYTES, MAX_PAYLOAD_BYTES)
    for _ in range(whole):
        assert reader.split(encode_link_frame(LinkType.IDENTIFY | MORE, 0, piece)) == []
    with pytest.raises(LinkError, match="2 MiB"):
        reader.split(encode_link_frame(LinkType.IDENTIFY, 0, bytes(rest + 1)))


def test_a_document_in_tiny_pieces_costs_no_copy_for_each_piece() -> None:
    reader = Reassembler()
    message = encode_link_frame(LinkType.IDENTIFY | MORE, 0, b"x" * 7) * 4000
    for _ in range(60):  # copying up to 1.6 MiB 240,000 times would take a minute
        assert reader.split(message) == []


@given(st.binary(max_size=100))
def test_a_strangers_bytes_raise_nothing_but_link_errors(junk: bytes) -> None:
    reader = Reassembler()
    for message in (junk, encode_link_frame(LinkType.DATA, 1, b"") + junk):
        try:
            reader.split(message)
        except LinkError:
            continue
