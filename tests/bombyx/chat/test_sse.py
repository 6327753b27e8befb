from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bombyx.chat.sse import DONE, DONE_DATA, Event, SseDecoder, encode_event
from bombyx.errors import BadStream

STREAM = (
    b"\xef\xbb\xbf: hello\n\ndata: one\n\ndata:two\r\ndata: more\r\n\r\n"
    b"event: odd\rdata: three\r\rid: 7\nretry: 5\nnothing\ndata\n\nevent: lost\n\n"
    b"data: four\n\ndata: [DONE]\n\n"
)
EVENTS = [
    Event(b"one"),
    Event(b"two\nmore"),
    Event(b"three", "odd"),
    Event(b"four"),
    Event(DONE_DATA),
]


@given(st.lists(st.integers(0, len(STREAM))))
def test_events_are_the_same_however_the_bytes_are_torn(cuts: list[int]) -> None:
    decoder, found = SseDecoder(), []
    edges = [0, *sorted(cuts), len(STREAM)]
    for start, end in pairwise(edges):
        found += decoder.feed(STREAM[start:end])
    decoder.finish()
    assert found == EVENTS


def test_one_byte_at_a_time() -> None:
    decoder = SseDecoder()
    assert [event for byte in STREAM for event in decoder.feed(bytes([byte]))] == EVENTS


def test_whole_events_in_one_chunk() -> None:
    decoder = SseDecoder()
    assert decoder.feed(encode_event(b"{}") + DONE) == [Event(b"{}"), Event(DONE_DATA)]
    assert decoder.feed(b"event: a\n\n") == []
    assert decoder.feed(b"data: a\nid: 3\n\n") == [Event(b"a")]
    assert decoder.feed(b": note\n\n") == []
    decoder.finish()


def test_a_crlf_torn_in_the_middle_is_one_line_end() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: a\r") == []
    assert decoder.feed(b"\ndata: b\r") == []
    assert decoder.feed(b"\n\r") == [Event(b"a\nb")]
    assert decoder.feed(b"\ndata: c\n\n") == [Event(b"c")]


@pytest.mark.parametrize("torn", [b"data: a", b"data: a\n"])
def test_a_torn_end_is_an_error(torn: bytes) -> None:
    decoder = SseDecoder()
    decoder.feed(torn)
    with pytest.raises(BadStream):
        decoder.finish()


@pytest.mark.parametrize(
    "chunks",
    [
        [b"data: 12345678901\n\n"],
        [b"data: 1", b"2345678901"],
        [b"data: 12345\n", b"data: 12345\n"],
        [b": 12345678901234567890"],
        [b"data:\n"] * 4,
    ],
)
def test_an_event_beyond_the_limit_is_an_error(chunks: list[bytes]) -> None:
    decoder = SseDecoder(max_event_bytes=15)
    with pytest.raises(BadStream):  # noqa: PT012 (any of them may be the one)
        for chunk in chunks:
            decoder.feed(chunk)
