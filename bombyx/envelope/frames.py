"""Frames: type u8, flags u8, length u32be, ciphertext (SPEC 2.9, 3.1).

One splitter serves the client, which opens frames, and the gateway, which only walks over them.
"""

import struct
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from bombyx.errors import MalformedFrame

HEAD = struct.Struct(">BBI")
HEAD_BYTES = HEAD.size
FINAL = 0x01
MAX_FRAME_BYTES = 2**20
"""Longest ciphertext: bounds what a reader must hold before it can check anything."""
MAX_CONTROL_BYTES = 8 * 2**10
"""The same for usage, error and end frames, which carry small documents."""
MAX_NOTE_BYTES = 512
_AAD_TAIL = struct.Struct(">QBB")


class FrameType(IntEnum):
    """What a frame carries."""

    DATA = 0
    HEAD = 1
    USAGE = 2
    PADDING = 3
    ERROR = 4
    END = 5
    RELAY_NOTE = 0x7F


_LIMITS: dict[int, int] = {
    FrameType.DATA: MAX_FRAME_BYTES,
    FrameType.HEAD: MAX_FRAME_BYTES,
    FrameType.USAGE: MAX_CONTROL_BYTES,
    FrameType.PADDING: MAX_FRAME_BYTES,
    FrameType.ERROR: MAX_CONTROL_BYTES,
    FrameType.END: MAX_CONTROL_BYTES,
    FrameType.RELAY_NOTE: MAX_NOTE_BYTES,
}
_LIMIT_BY_BYTE = [_LIMITS.get(byte, -1) for byte in range(256)]


class Frame(NamedTuple):
    """One frame as it came; `raw` includes the 6 bytes of its head."""

    type: int
    flags: int
    raw: bytes

    @property
    def body(self) -> bytes:
        """What follows the head: ciphertext, or clear text for usage frames and notes."""
        return self.raw[HEAD_BYTES:]


def encode_frame(frame_type: int, flags: int, body: bytes) -> bytes:
    """Head and body of one frame; raises `ValueError` for a body that no reader would take."""
    if len(body) > _LIMITS[frame_type]:
        raise ValueError(f"a frame of type {frame_type} holds at most {_LIMITS[frame_type]} bytes")
    return HEAD.pack(frame_type, flags, len(body)) + body


def aad(h: bytes, seq: int, frame_type: int, flags: int) -> bytes:
    """Associated data of a sealed frame, before the transcript that types 4 and 5 add."""
    return h + _AAD_TAIL.pack(seq, frame_type, flags)


Span: TypeAlias = tuple[int, int, int, int]


class FrameSplitter:
    """Bytes, cut anywhere, to frames; checks types and lengths before it buffers a body."""

    __slots__ = ("_buffer", "_needed")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._needed = HEAD_BYTES

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are whole by now; raises `MalformedFrame`."""
        whole, spans = self.split(data)
        return [Frame(kind, flags, whole[start:end]) for kind, flags, start, end in spans]

    def split(self, data: bytes) -> tuple[bytes, list[Span]]:
        """The same without cutting: bytes, and type, flags, start and end of each frame in them.

        The frames follow one another from the first byte on.
        """
        buffer = data
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return b"", []  # a frame that trickles in is copied once, not once for each piece
            buffer = bytes(self._buffer)
        spans: list[Span] = []
        start, size, needed = 0, len(buffer), HEAD_BYTES
        while size - start >= HEAD_BYTES:
            frame_type, flags, length = HEAD.unpack_from(buffer, start)
            limit = _LIMIT_BY_BYTE[frame_type]
            if limit < 0:
                raise MalformedFrame(f"there is no frame type {frame_type}")
            if length > limit:
                raise MalformedFrame(f"a frame of type {frame_type} holds at most {limit} bytes")
            end = start + HEAD_BYTES + length
            if end > size:
                needed = end - start
                break
            spans.append((frame_type, flags, start, end))
            start = end
        if start < size or self._buffer:
            self._buffer, self._needed = bytearray(buffer[start:]), needed
        return buffer, spans

    @property
    def pending(self) -> int:
        """Bytes of a frame that has begun."""
        return len(self._buffer)
