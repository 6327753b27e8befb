"""The clear header of a sealed request: all that the gateway may know of it (SPEC 2)."""

import hashlib
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from bombyx import canonical
from bombyx.canonical import Document
from bombyx.errors import ClockAhead, ClockSkew, MalformedHeader, NotCanonical
from bombyx.units import MAX_SKEW_SECONDS, Count, Hex16, Hex32, Name, NanoText

MAX_HEADER_BYTES = 16 * 2**10
MAX_CANDIDATES = 8
MAX_FEE_BPS = 10_000


class Candidate(Document, frozen=True):
    """One worker that may serve, the HPKE key sealed to, and the offer accepted from it."""

    worker: Hex32
    key_id: Hex16
    offer: Hex32


class Header(Document, frozen=True):
    """H of SPEC 2; amounts are decimal strings, `issued_at` unix seconds."""

    v: Literal["bombyx/1"]
    id: Hex16
    gateway: Hex32
    method: Literal["POST"]
    path: Annotated[str, Meta(max_length=64, pattern=r"\A/v1/[a-z0-9/_-]+\Z")]
    model: Name
    stream: bool
    tier: Literal["sealed", "bare"]
    payer: Hex32
    issued_at: Count
    max_input_tokens: Count
    max_output_tokens: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    max_cost_nano: NanoText
    fee_bps: Annotated[int, Meta(ge=0, le=MAX_FEE_BPS)]
    candidates: Annotated[list[Candidate], Meta(min_length=1, max_length=MAX_CANDIDATES)]
    channel: Annotated[str, Meta(max_length=80, pattern=r"\A[A-Za-z0-9:_-]+\Z")] | UnsetType = UNSET
    cache_shard: Annotated[str, Meta(max_length=64, pattern=r"\A[A-Za-z0-9_-]+\Z")] | UnsetType = (
        UNSET
    )


@dataclass(frozen=True, slots=True)
class HashedHeader:
    """A header with its canonical bytes and their hash `h`."""

    header: Header
    raw: bytes
    h: bytes


def hash_header(header: Header) -> HashedHeader:
    """Encode and hash a header of our own making."""
    raw = canonical.encode(header)
    return HashedHeader(header, raw, hashlib.sha256(raw).digest())


def parse_header(raw: bytes) -> HashedHeader:
    """Read a stranger's header; raises `MalformedHeader`."""
    if len(raw) > MAX_HEADER_BYTES:
        raise MalformedHeader("the header is longer than 16 KiB")
    try:
        header = canonical.decode(raw, Header)
    except NotCanonical as error:
        raise MalformedHeader(error.message) from None
    if len({candidate.worker for candidate in header.candidates}) != len(header.candidates):
        raise MalformedHeader("a worker is a candidate twice")
    return HashedHeader(header, raw, hashlib.sha256(raw).digest())


def check_issued_at(issued_at: int, now: int) -> None:
    """Accept ±300 s; raises `ClockSkew` for the past and `ClockAhead` for the future (SPEC 4)."""
    if issued_at < now - MAX_SKEW_SECONDS:
        raise ClockSkew(
            f"the request was issued {now - issued_at} s ago by our clock (limit 300 s): "
            "set the clock right and seal it again",
            param="issued_at",
        )
    if issued_at > now + MAX_SKEW_SECONDS:
        raise ClockAhead(
            f"the request was issued {issued_at - now} s in the future by our clock "
            "(limit 300 s): set the clock right and seal it again",
            param="issued_at",
        )
