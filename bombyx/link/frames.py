"""Link frames (SPEC 10.1): type u8, stream u32be, length u32be, payload; many to a message.

A WebSocket message holds whole frames and at most 64 KiB, so that a large image never stalls the
tokens of its neighbours. Stream 0 is the link itself; its documents may span frames (`MORE`).
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from bombyx.errors import LinkError

HEAD = struct.Struct(">BII")
HEAD_BYTES = HEAD.size
MAX_MESSAGE_BYTES = 64 * 2**10
MAX_PAYLOAD_BYTES = 24 * 2**10
"""The longest payload: an open frame with a header of 16 KiB fits."""
MAX_DOCUMENT_BYTES = 2 * 2**20
"""A document on stream 0, put together: evidence of 16 GPUs has about 1 MiB."""
MORE = 0x80


class LinkType(IntEnum):
    """What a link frame says."""

    HELLO = 1
    CHALLENGE = 2
    IDENTIFY = 3
    WELCOME = 4
    OPEN = 5
    DATA = 6
    CREDIT = 7
    RESET = 8
    REFUSAL = 9
    STATEMENT = 10
    SETTLE = 11
    ACK = 12
    STATUS = 13
    OFFER = 14
    SESSION = 15
    FORWARD = 16
    PING = 17
    PONG = 18
    GOAWAY = 19
    END = 20


_KNOWN = frozenset(LinkType)


class LinkFrame(NamedTuple):
    """One frame; `type` is known, `payload` at most 24 KiB unless put together."""

    type: int
    stream: int
    payload: bytes


def encode_link_frame(frame_type: int, stream: int, payload: bytes) -> bytes:
    """Bytes of one frame."""
    return HEAD.pack(frame_type, stream, len(payload)) + payload


class Reassembler:
    """Messages to frames; puts documents of stream 0 together."""

    __slots__ = ("_held", "_partial")

    def __init__(self) -> None:
        self._partial: dict[int, bytearray] = {}
        self._held = 0

    def split(self, message: bytes) -> list[LinkFrame]:
        """The frames of one message; raises `LinkError` when it breaks the format."""
        if len(message) > MAX_MESSAGE_BYTES:
            raise LinkError("a link message holds at most 64 KiB")
        frames: list[LinkFrame] = []
        at, size, partial = 0, len(message), self._partial
        while at < size:
            if size - at < HEAD_BYTES:
                raise LinkError("a link frame is torn")
            frame_type, stream, length = HEAD.unpack_from(message, at)
            at += HEAD_BYTES
            if length > MAX_PAYLOAD_BYTES or at + length > size:
                raise LinkError("the length of a link frame is wrong")
            payload = message[at : at + length]
            at += length
            if frame_type & MORE or frame_type in partial:
                self._collect(frames, frame_type, stream, payload)
            elif frame_type not in _KNOWN:
                raise LinkError(f"there is no link frame type {frame_type}")
            else:
                frames.append(LinkFrame(frame_type, stream, payload))
        return frames

    def _collect(
        self, frames: list[LinkFrame], frame_type: int, stream: int, payload: bytes
    ) -> None:
        kind = frame_type & ~MORE
        if stream != 0 or kind not in _KNOWN:
            raise LinkError("only documents of the link itself span frames")
        whole = self._partial.setdefault(kind, bytearray())
        whole += payload
        self._held += len(payload)  # of all of them, since who is not known yet may begin each type
        if self._held > MAX_DOCUMENT_BYTES:
            raise LinkError("unfinished link documents are longer than 2 MiB")
        if not frame_type & MORE:
            del self._partial[kind]
            self._held -= len(whole)
            frames.append(LinkFrame(kind, stream, bytes(whole)))
