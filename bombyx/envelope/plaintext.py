"""What lies inside the sealed request: a small head, the body, padding (SPEC 2.2).

`u32be m | JCS{content_type, padding?, user_cache_secret?} | u32be n | body | zeros to the bucket`
"""

import struct
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from bombyx import canonical
from bombyx.canonical import Document
from bombyx.errors import MalformedRequest, NotCanonical
from bombyx.units import Hex32

_U32 = struct.Struct(">I")
_FIRST_BUCKET = 1024
_DOUBLING_UP_TO = 8192
MAX_HEAD_BYTES = 1024


class PlaintextHead(Document, frozen=True):
    """What the worker needs besides the body."""

    content_type: Annotated[str, Meta(max_length=256)]
    padding: Literal["exact"] | UnsetType = UNSET
    """How the answer's frames are sized (SPEC 3.7); buckets unless the user asks otherwise."""
    user_cache_secret: Hex32 | UnsetType = UNSET


@dataclass(frozen=True, slots=True, repr=False)
class Plaintext:
    """An opened request."""

    head: PlaintextHead
    body: bytes


def bucket(size: int) -> int:
    """The padded size: 1, 2, 4, 8 KiB, then steps of an eighth."""
    step = _FIRST_BUCKET
    while step < size:
        step = step * 2 if step < _DOUBLING_UP_TO else step + step // 8
    return step


def pack(head: PlaintextHead, body: bytes) -> bytes:
    """Head and body, padded to their bucket."""
    encoded = canonical.encode(head)
    packed = b"".join((_U32.pack(len(encoded)), encoded, _U32.pack(len(body)), body))
    return packed.ljust(bucket(len(packed)), b"\0")


def unpack(data: bytes) -> Plaintext:
    """The inverse; refuses non-zero padding and foreign buckets with `MalformedRequest`."""
    head_bytes, rest = _take(data, 0, MAX_HEAD_BYTES)
    body, end = _take(data, rest, len(data))
    if len(data) != bucket(end) or any(data[end:]):
        raise MalformedRequest("the padding of the sealed request is wrong")
    try:
        head = canonical.decode(head_bytes, PlaintextHead)
    except NotCanonical:  # its message may name a key, and the head is content
        raise MalformedRequest("the head of the sealed request is not canonical") from None
    return Plaintext(head, body)


def _take(data: bytes, start: int, limit: int) -> tuple[bytes, int]:
    """A length-prefixed piece and where it ends."""
    begin = start + _U32.size
    if len(data) < begin:
        raise MalformedRequest("the sealed request is too short")
    (length,) = _U32.unpack_from(data, start)
    end = begin + length
    if length > limit or end > len(data):
        raise MalformedRequest("a length in the sealed request is wrong")
    return data[begin:end], end
