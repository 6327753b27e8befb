"""SPEC 10: two honest ends never quarrel, and a peer that overdraws is caught in time.

Streams 1 to 3 belong to an honest sender; on stream 4 a liar writes as it likes.
"""

import hashlib
import struct
from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bombyx.errors import LinkError
from bombyx.link.frames import LinkFrame, LinkType, encode_link_frame
from bombyx.link.mux import MAX_DEBT_BYTES, TURN_BYTES, WINDOW_BYTES, Mux
from tests.factories import seed

HONEST, LIAR = (1, 2, 3), 4
SOURCE = seed("stream", 2 * 2**20)
FRAME = 2**20 + 6
sizes = st.sampled_from([0, 1, 100, TURN_BYTES, TURN_BYTES + 1, 2**17, FRAME])


class Link(RuleBasedStateMachine):
    """`near` sends, `far` reads; messages wait in between, and credits on their way back."""

    def __init__(self) -> None:
        super().__init__()
        self.near, self.far = Mux(), Mux()
        for stream in (*HONEST, LIAR):
            self.near.open(stream)
            self.far.open(stream)
        self.there: deque[bytes] = deque()
        self.back: deque[bytes] = deque()
        self.sent = dict.fromkeys(HONEST, 0)
        self.got = dict.fromkeys(HONEST, 0)
        self.read = dict.fromkeys(HONEST, 0)
        self.overdrawn = 0
        self.handed_over = {stream: hashlib.sha256() for stream in HONEST}
        self.arrived = {stream: hashlib.sha256() for stream in HONEST}

    @rule(stream=st.sampled_from(HONEST), size=sizes)
    def send(self, stream: int, size: int) -> None:
        if not self.near.writable(stream):
            return
        at = (self.sent[stream] + stream) % (len(SOURCE) - FRAME)
        data = SOURCE[at : at + size]
        self.near.send(stream, data)
        self.sent[stream] += len(data)
        self.handed_over[stream].update(data)

    @rule(times=st.integers(1, 30))
    def write(self, times: int) -> None:
        for _ in range(times):
            if not (message := self.near.next_message()):
                return
            self.there.append(message)

    @rule(times=st.integers(1, 30))
    def deliver(self, times: int) -> None:
        for _ in range(min(times, len(self.there))):
            for frame in self.far.receive(self.there.popleft()):
                self.take(frame)

    def take(self, frame: LinkFrame) -> None:
        assert frame.type == LinkType.DATA
        self.got[frame.stream] += len(frame.payload)
        assert self.got[frame.stream] <= self.sent[frame.stream]
        self.arrived[frame.stream].update(frame.payload)

    @rule(stream=st.sampled_from(HONEST), part=st.sampled_from([1, 2, 10]))
    def consume(self, stream: int, part: int) -> None:
        count = (self.got[stream] - self.read[stream]) // part
        self.read[stream] += count
        self.far.consumed(stream, count)

    @rule()
    def credits_return(self) -> None:
        while message := self.far.next_message():
            self.back.append(message)
        while self.back:
            assert self.near.receive(self.back.popleft()) == []

    @precondition(lambda self: self.overdrawn >= 0)
    @rule(pieces=st.integers(1, 20))
    def overdraw(self, pieces: int) -> None:
        lie = encode_link_frame(LinkType.DATA, LIAR, bytes(TURN_BYTES))
        for _ in range(pieces):
            self.overdrawn += TURN_BYTES
            if self.overdrawn > WINDOW_BYTES + MAX_DEBT_BYTES:
                with pytest.raises(LinkError, match="beyond its credit"):
                    self.far.receive(lie)
                self.overdrawn = -1
                return
            self.far.receive(lie)

    @rule(more=st.integers(2**31, 2**32 - 1))
    def give_credit_without_bound(self, more: int) -> None:
        lie = encode_link_frame(LinkType.CREDIT, LIAR, struct.pack(">I", more))
        with pytest.raises(LinkError, match="more credit"):
            self.near.receive(lie)

    @invariant()
    def what_is_unread_is_bounded(self) -> None:
        for stream in HONEST:
            unread = self.sent[stream] - self.read[stream]
            assert unread <= WINDOW_BYTES + FRAME
            assert self.near._credit[stream] > -MAX_DEBT_BYTES

    @invariant()
    def no_stream_has_two_turns_in_a_round(self) -> None:
        turns = self.near._turns
        assert len(set(turns)) == len(turns)

    def teardown(self) -> None:
        """With a reader that reads, everything arrives, and every stream may write again."""
        for _ in range(8):
            self.write(200)
            self.deliver(200)
            for stream in HONEST:
                self.consume(stream, 1)
            self.credits_return()
        assert self.got == self.sent
        assert all(self.near.writable(stream) for stream in HONEST)
        for stream in HONEST:
            assert self.arrived[stream].digest() == self.handed_over[stream].digest()


TestLink = Link.TestCase
TestLink.settings = settings(max_examples=60, stateful_step_count=30)
