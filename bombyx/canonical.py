"""Restricted JSON in its one canonical form (SPEC 1.6; RFC 8785 on this subset).

Documents are `msgspec.Struct`s whose keys are `[a-z0-9_]+` and whose values are strings, integers
0..2^53-1, booleans, arrays and objects: no null, no floats; an absent field is omitted. On this
subset sorted output of msgspec equals RFC 8785, which a test proves against the `rfc8785` package.
"""

import hashlib
from functools import cache
from typing import Any, TypeVar

import msgspec

from bombyx.errors import NotCanonical
from bombyx.forms import check_forms

_encoder = msgspec.json.Encoder(order="sorted")

T = TypeVar("T", bound=msgspec.Struct)


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A document with a canonical form; optional fields default to `UNSET` and are then omitted.

    Raises `ValueError` for hex or decimal text that is not in its one spelling.
    """

    def __post_init__(self) -> None:
        check_forms(self)


def encode(document: Any) -> bytes:
    """Canonical bytes of a document (a `Document`, or plain dicts and lists of the subset)."""
    return _encoder.encode(document)


def digest(document: Any) -> bytes:
    """SHA-256 of the canonical bytes: 32 bytes."""
    return hashlib.sha256(_encoder.encode(document)).digest()


@cache
def _decoder(kind: type[T]) -> "msgspec.json.Decoder[T]":
    return msgspec.json.Decoder(kind)


def decode(data: bytes, kind: type[T]) -> T:
    """Read a document, refusing all but its canonical bytes.

    The typed decode checks bounds and unknown keys, the comparison refuses duplicate keys, other
    spellings of numbers and escapes, white space and order. Raises `NotCanonical`.
    """
    try:
        document: T = _decoder(kind).decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise NotCanonical(f"not a {kind.__name__} document: {error}") from None
    if _encoder.encode(document) != data:
        raise NotCanonical(f"the {kind.__name__} document is not in canonical form")
    return document
