"""Sending many streams fairly over one link, with a credit for each (SPEC 10.2).

A stream may send while its credit is positive, and then a whole frame, so that what was handed to
the link always goes out whole: the debt is bounded by one frame. Link documents go first, streams
take turns of 16 KiB. The receiver gives credit back as its own reader takes the data.
"""

import struct
from collections import deque

from bombyx.errors import LinkError
from bombyx.link.frames import (
    HEAD,
    HEAD_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_PAYLOAD_BYTES,
    MORE,
    LinkFrame,
    LinkType,
    Reassembler,
    encode_link_frame,
)

WINDOW_BYTES = 256 * 2**10
"""Credit of a fresh stream, each way: 25 ms of a fast stream, 256 MiB for 1,000 stalled ones."""
TURN_BYTES = 16 * 2**10
"""What one stream sends before the next one has its turn."""
MAX_DEBT_BYTES = 2**20 + 2**13
"""One sealed frame and its link heads: how far below zero a stream's credit may go."""
MAX_CREDIT_BYTES = 2**31
_U32 = struct.Struct(">I")
_DATA, _CREDIT, _OPEN = int(LinkType.DATA), int(LinkType.CREDIT), int(LinkType.OPEN)
"""As they are in a frame: comparing with members of an enumeration costs more than the rest."""


class Mux:
    """Both directions of one link's streams; knows no socket."""

    def __init__(self) -> None:
        self._reassembler = Reassembler()
        self._urgent: deque[bytes] = deque()
        self._queues: dict[int, deque[tuple[int, bytes]]] = {}
        self._turns: deque[int] = deque()
        self._credit: dict[int, int] = {}
        self._window: dict[int, int] = {}
        self._owed: dict[int, int] = {}

    def open(self, stream: int) -> None:
        """Begin a stream; raises `LinkError` for one that is open.

        For whoever sends the `open` frame; its receiver's stream begins in `receive`.
        """
        if stream in self._credit or stream <= 0:
            raise LinkError("the stream is open already")
        self._credit[stream] = WINDOW_BYTES
        self._window[stream] = WINDOW_BYTES
        self._owed[stream] = 0

    def close(self, stream: int) -> None:
        """Forget a stream once what it has queued is sent; late data is then dropped."""
        self._credit.pop(stream, None)
        self._window.pop(stream, None)
        self._owed.pop(stream, None)

    def writable(self, stream: int) -> bool:
        """Whether the stream may hand over one more sealed frame now."""
        return self._credit.get(stream, 0) > 0 and not self._queues.get(stream)

    def has_credit(self, stream: int) -> bool:
        """Whether the stream may queue more at all."""
        return self._credit.get(stream, 0) > 0

    def document(self, frame_type: LinkType, payload: bytes) -> None:
        """Queue a document of the link itself, before all streams."""
        while len(payload) > MAX_PAYLOAD_BYTES:
            piece, payload = payload[:MAX_PAYLOAD_BYTES], payload[MAX_PAYLOAD_BYTES:]
            self._urgent.append(encode_link_frame(frame_type | MORE, 0, piece))
        self._urgent.append(encode_link_frame(frame_type, 0, payload))

    def send(self, stream: int, data: bytes) -> None:
        """Queue data of a stream; whoever respects `writable` never overdraws."""
        self._credit[stream] -= len(data)
        for at in range(0, len(data), TURN_BYTES):
            self._enqueue(stream, LinkType.DATA, data[at : at + TURN_BYTES])

    def send_frame(self, stream: int, frame_type: LinkType, payload: bytes) -> None:
        """Queue a frame that keeps its place behind the stream's data; costs no credit."""
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise LinkError("a link frame holds at most 24 KiB")
        self._enqueue(stream, frame_type, payload)

    def discard(self, stream: int) -> None:
        """Drop what the stream still has queued, but for its beginning.

        A reset follows: whoever never saw the stream's `open` would not answer that.
        """
        queue = self._queues.get(stream)
        if queue:  # cleared, not removed: it has its turn in the round already
            first = queue[0]
            queue.clear()
            if first[0] == _OPEN:
                queue.append(first)

    def consumed(self, stream: int, count: int) -> bool:
        """The reader took `count` bytes: give credit back in halves of a window.

        Returns whether something is now due to be sent.
        """
        owed = self._owed.get(stream)
        if owed is None:
            return False
        owed += count
        if owed < WINDOW_BYTES // 2:
            self._owed[stream] = owed
            return False
        self._window[stream] += owed
        self._enqueue(stream, LinkType.CREDIT, _U32.pack(owed))
        self._owed[stream] = 0
        return True

    def receive(self, message: bytes) -> list[LinkFrame]:
        """The frames of a message but credits, which are taken here; raises `LinkError`."""
        frames = []
        for frame in self._reassembler.split(message):
            if frame.type == _DATA:
                window = self._window.get(frame.stream)
                if window is None:
                    continue  # late data of a stream that was closed here
                window -= len(frame.payload)
                if window < -MAX_DEBT_BYTES:
                    raise LinkError("a stream was sent beyond its credit")
                self._window[frame.stream] = window
            elif frame.type == _CREDIT:
                self._take_credit(frame)
                continue
            elif frame.type == _OPEN:
                self.open(frame.stream)  # here, since its data may follow in the same message
            frames.append(frame)
        return frames

    def next_message(self) -> bytes:
        """The next message to send, empty when nothing is due."""
        parts: list[bytes] = []
        room = MAX_MESSAGE_BYTES
        while self._urgent and len(self._urgent[0]) <= room:
            parts.append(self._urgent.popleft())
            room -= len(parts[-1])
        if self._urgent:
            return b"".join(parts)
        while self._turns:
            stream = self._turns[0]
            queue = self._queues[stream]
            taken = _take_turn(stream, queue, parts, room)
            if queue and not taken:
                break
            room -= taken
            self._turns.rotate(-1)
            if not queue:
                self._turns.pop()
                del self._queues[stream]
        return b"".join(parts)

    def _enqueue(self, stream: int, frame_type: int, payload: bytes) -> None:
        queue = self._queues.get(stream)
        if queue is None:
            queue = self._queues[stream] = deque()
            self._turns.append(stream)
        queue.append((frame_type, payload))

    def _take_credit(self, frame: LinkFrame) -> None:
        if len(frame.payload) != _U32.size:
            raise LinkError("a credit has four bytes")
        credit = self._credit.get(frame.stream)
        if credit is None:
            return
        (more,) = _U32.unpack(frame.payload)
        if credit + more > MAX_CREDIT_BYTES:
            raise LinkError("more credit than a stream can use")
        self._credit[frame.stream] = credit + more


def _take_turn(stream: int, queue: deque[tuple[int, bytes]], parts: list[bytes], room: int) -> int:
    """Move what a stream may send in one turn into `parts`; the bytes it takes of `room`.

    Data that was handed over in small pieces leaves as one frame: every frame costs its reader.
    """
    taken, turn = 0, TURN_BYTES
    while queue:
        frame_type, payload = queue[0]
        size = len(payload)
        if taken + HEAD_BYTES + size > room or (taken and size > turn):
            break
        queue.popleft()
        head_at = len(parts)
        parts += (b"", payload)  # the head is written when the size is known
        while frame_type == _DATA and queue and queue[0][0] == _DATA:
            more = len(queue[0][1])
            if size + more > turn or taken + HEAD_BYTES + size + more > room:
                break
            parts.append(queue.popleft()[1])
            size += more
        parts[head_at] = HEAD.pack(frame_type, stream, size)
        taken += HEAD_BYTES + size
        turn -= size
    return taken
