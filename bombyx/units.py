"""Numbers with names, and the shapes that text must have on the wire (SPEC 1).

Amounts are nano-GRAM, always integers; in JSON they are decimal strings, since JavaScript loses
integers above 2^53. Digests, keys and ids are lower-case hex without a prefix.
"""

from typing import Annotated, NewType

from msgspec import Meta

Nano = NewType("Nano", int)

MAX_SAFE_INTEGER = 2**53 - 1
MAX_NANO = Nano(10**18 - 1)
"""Fits a signed 64-bit database column with room for sums."""

Count = Annotated[int, Meta(ge=0, le=MAX_SAFE_INTEGER)]
NanoText = Annotated[str, Meta(pattern=r"\A(0|[1-9][0-9]{0,17})\Z")]
Hex16 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
Hex32 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Hex64 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{128}\Z")]
Name = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"\A[A-Za-z0-9._:/@+-]+\Z")]
"""Model and key names: printable, no spaces, safe in logs and URLs."""
