"""SPEC 10: streams share a link fairly, each within its credit."""

import struct

import pytest

from bombyx.errors import LinkError
from bombyx.link.frames import (
    MAX_MESSAGE_BYTES,
    MAX_PAYLOAD_BYTES,
    LinkFrame,
    LinkType,
    Reassembler,
    encode_link_frame,
)
from bombyx.link.mux import MAX_CREDIT_BYTES, MAX_DEBT_BYTES, TURN_BYTES, WINDOW_BYTES, Mux
from tests.factories import seed

FRAME = 2**20 + 6
"""The longest sealed frame with its head."""


def opened(*streams: int) -> Mux:
    mux = Mux()
    for stream in streams:
        mux.open(stream)
    return mux


def drain(sender: Mux) -> list[LinkFrame]:
    """All frames that are due, in order."""
    reader, frames = Reassembler(), list[LinkFrame]()
    while message := sender.next_message():
        frames += reader.split(message)
    return frames


def pass_all(sender: Mux, receiver: Mux) -> list[LinkFrame]:
    frames = []
    while message := sender.next_message():
        frames += receiver.receive(message)
    return frames


def credit(stream: int, more: int) -> bytes:
    return encode_link_frame(LinkType.CREDIT, stream, struct.pack(">I", more))


def test_data_arrives_whole_and_in_order() -> None:
    sender, receiver = opened(1, 2), opened(1, 2)
    one, two = seed("one", 100_000), seed("two", 30_000)
    sender.send(1, one)
    sender.send(2, two)
    sender.send_frame(1, LinkType.END, b"")
    frames = pass_all(sender, receiver)
    for stream, data in ((1, one), (2, two)):
        got = [f.payload for f in frames if (f.type, f.stream) == (LinkType.DATA, stream)]
        assert b"".join(got) == data
    assert frames[-1] == LinkFrame(LinkType.END, 1, b"")


def test_a_long_stream_delays_a_short_one_by_at_most_one_message() -> None:
    sender = opened(1, 2)
    sender.send(1, bytes(2**20))
    assert sender.next_message()
    sender.send(2, b"token")
    message = sender.next_message()
    assert LinkFrame(LinkType.DATA, 2, b"token") in Reassembler().split(message)


@pytest.mark.spec("10.2-b")
def test_streams_take_turns_of_16_kib() -> None:
    sender = opened(1, 2, 3)
    for stream in (1, 2, 3):
        sender.send(stream, bytes(5 * TURN_BYTES))
    frames = drain(sender)
    assert [frame.stream for frame in frames] == [1, 2, 3] * 5
    assert {len(frame.payload) for frame in frames} == {TURN_BYTES}


@pytest.mark.spec("10.2-b")
def test_documents_of_the_link_go_first() -> None:
    sender = opened(1)
    sender.send(1, bytes(2**20))
    sender.next_message()
    sender.document(LinkType.PING, b"now")
    first = Reassembler().split(sender.next_message())
    assert first[0] == LinkFrame(LinkType.PING, 0, b"now")
    assert first[1].type == LinkType.DATA


def test_a_long_document_spans_frames_before_any_data() -> None:
    sender, receiver = opened(1), opened(1)
    sender.send(1, b"data")
    document = seed("evidence", 200_000)
    sender.document(LinkType.IDENTIFY, document)
    frames = pass_all(sender, receiver)
    assert frames == [
        LinkFrame(LinkType.IDENTIFY, 0, document),
        LinkFrame(LinkType.DATA, 1, b"data"),
    ]


def test_no_message_is_longer_than_64_kib() -> None:
    sender = opened(1, 2)
    sender.send(1, bytes(FRAME))
    sender.document(LinkType.STATEMENT, bytes(300_000))
    sender.send_frame(2, LinkType.OPEN, bytes(MAX_PAYLOAD_BYTES))
    while message := sender.next_message():
        assert len(message) <= MAX_MESSAGE_BYTES


def test_nothing_due_is_an_empty_message() -> None:
    assert opened(1).next_message() == b""


def test_a_stream_writes_while_its_credit_is_positive_then_one_whole_frame() -> None:
    sender, receiver = opened(1), opened(1)
    assert sender.writable(1)
    sender.send(1, bytes(WINDOW_BYTES - 1))
    assert not sender.writable(1)  # queued: the link itself is the brake
    pass_all(sender, receiver)
    assert sender.writable(1)
    sender.send(1, bytes(FRAME))
    pass_all(sender, receiver)  # the largest honest debt is within the bound
    assert not sender.writable(1)
    receiver.consumed(1, WINDOW_BYTES + FRAME)
    pass_all(receiver, sender)
    assert sender.writable(1)


def test_credit_comes_back_in_halves_of_a_window() -> None:
    receiver = opened(1)
    receiver.consumed(1, WINDOW_BYTES // 2 - 1)
    assert receiver.next_message() == b""
    receiver.consumed(1, 1)
    assert receiver.next_message() == credit(1, WINDOW_BYTES // 2)
    receiver.consumed(9, 10**6)  # a stream that is gone earns nothing
    assert receiver.next_message() == b""


@pytest.mark.spec("10.2-a")
def test_a_peer_beyond_its_credit_is_caught() -> None:
    receiver = opened(1)
    message = encode_link_frame(LinkType.DATA, 1, bytes(TURN_BYTES))
    allowed = (WINDOW_BYTES + MAX_DEBT_BYTES) // TURN_BYTES
    for _ in range(allowed):
        receiver.receive(message)
    with pytest.raises(LinkError, match="beyond its credit"):
        receiver.receive(message)


@pytest.mark.spec("10.1-d")
def test_a_stream_opens_once_and_is_not_the_links_own() -> None:
    mux = opened(1)
    for stream in (1, 0, -1):
        with pytest.raises(LinkError, match="open already"):
            mux.open(stream)


@pytest.mark.spec("10.1-f")
def test_late_data_and_credit_of_a_closed_stream_are_dropped() -> None:
    mux = opened(1)
    mux.close(1)
    assert not mux.writable(1)
    late = encode_link_frame(LinkType.DATA, 1, b"late") + credit(1, 5)
    assert mux.receive(late) == []
    mux.close(1)


def test_what_was_queued_before_closing_still_goes_out() -> None:
    mux = opened(1)
    mux.send(1, b"last words")
    mux.close(1)
    assert drain(mux) == [LinkFrame(LinkType.DATA, 1, b"last words")]


def test_discarded_data_gives_way_to_the_reset() -> None:
    mux = opened(1, 2)
    mux.send(1, bytes(2**20))
    mux.send(2, bytes(3 * TURN_BYTES))
    mux.discard(1)
    mux.send_frame(1, LinkType.RESET, b"")
    mux.discard(3)
    frames = drain(mux)
    assert [frame.type for frame in frames if frame.stream == 1] == [LinkType.RESET]
    assert len([frame for frame in frames if frame.stream == 2]) == 3


def test_a_request_that_is_reset_at_once_is_still_heard_of() -> None:
    mux = opened(1)
    mux.send_frame(1, LinkType.OPEN, b"request")
    mux.send(1, b"sealed")
    mux.discard(1)
    mux.send_frame(1, LinkType.RESET, b"")
    assert [frame.type for frame in drain(mux)] == [LinkType.OPEN, LinkType.RESET]


def test_a_reset_stream_has_one_turn_in_the_round() -> None:
    mux = opened(1, 2)
    mux.send(1, bytes(TURN_BYTES))
    mux.send(2, bytes(4 * TURN_BYTES))
    mux.discard(1)
    mux.send(1, bytes(4 * TURN_BYTES))
    assert [frame.stream for frame in drain(mux)] == [1, 2] * 4


@pytest.mark.spec("10.2-c")
@pytest.mark.parametrize("payload", [b"", b"\0\0\0", bytes(5)])
def test_a_credit_has_four_bytes(payload: bytes) -> None:
    with pytest.raises(LinkError, match="four bytes"):
        opened(1).receive(encode_link_frame(LinkType.CREDIT, 1, payload))


@pytest.mark.spec("10.2-c")
def test_credit_without_bound_is_refused() -> None:
    mux = opened(1)
    mux.receive(credit(1, MAX_CREDIT_BYTES - WINDOW_BYTES))
    with pytest.raises(LinkError, match="more credit"):
        mux.receive(credit(1, 1))


def test_a_frame_that_no_link_frame_holds_is_refused() -> None:
    with pytest.raises(LinkError, match="24 KiB"):
        opened(1).send_frame(1, LinkType.OPEN, bytes(MAX_PAYLOAD_BYTES + 1))


def test_an_open_frame_opens_its_stream_before_data_of_the_same_message() -> None:
    mux = Mux()
    start = encode_link_frame(LinkType.OPEN, 5, b"open")
    data = encode_link_frame(LinkType.DATA, 5, b"data")
    assert mux.receive(start + data) == [
        LinkFrame(LinkType.OPEN, 5, b"open"),
        LinkFrame(LinkType.DATA, 5, b"data"),
    ]
    assert mux.has_credit(5)
    with pytest.raises(LinkError, match="open already"):
        mux.receive(start)


def test_credit_is_told_apart_from_an_empty_queue() -> None:
    mux = opened(1)
    mux.send(1, b"queued")
    assert mux.has_credit(1)
    assert not mux.writable(1)
    mux.send(1, bytes(WINDOW_BYTES))
    assert not mux.has_credit(1)
    assert not mux.has_credit(2)
