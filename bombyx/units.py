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

MAX_SKEW_SECONDS = 300
"""As far apart as the clocks of client, gateway and worker may be (SPEC 2, 10.3)."""

Count = Annotated[int, Meta(ge=0, le=MAX_SAFE_INTEGER)]
HEX, DECIMAL = "hex", "decimal"
"""Forms that `canonical.Document` checks once per document: a pattern per field took longer than
the rest of reading a receipt."""
NanoText = Annotated[str, Meta(min_length=1, max_length=18, extra={"form": DECIMAL})]
Hex16 = Annotated[str, Meta(min_length=32, max_length=32, extra={"form": HEX})]
Hex32 = Annotated[str, Meta(min_length=64, max_length=64, extra={"form": HEX})]
Hex64 = Annotated[str, Meta(min_length=128, max_length=128, extra={"form": HEX})]
Name = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"\A[A-Za-z0-9._:/@+-]+\Z")]
"""Model and key names: printable, no spaces, safe in logs and URLs."""
