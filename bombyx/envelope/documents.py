"""The small documents inside response frames (SPEC 3.5, 3.8)."""

from typing import Annotated

from msgspec import Meta

from bombyx.canonical import Document
from bombyx.units import Count, Hex32

_HeaderText = Annotated[str, Meta(max_length=1024, pattern=r"\A[\x20-\x7e]*\Z")]


class ResponseHead(Document, frozen=True):
    """Status and headers of the model's answer, as (lower-case name, value) pairs."""

    status: Annotated[int, Meta(ge=200, le=599)]
    headers: Annotated[list[tuple[_HeaderText, _HeaderText]], Meta(max_length=32)]


class StreamEnd(Document, frozen=True):
    """The end of an answer: hash of its final statement, plaintext bytes of all data frames."""

    statement: Hex32
    bytes: Count


class RelayNote(Document, frozen=True):
    """The gateway's clear word on why a stream broke off; nothing vouches for it."""

    code: Annotated[str, Meta(max_length=64, pattern=r"\A[a-z0-9_]+\Z")]
    retryable: bool
