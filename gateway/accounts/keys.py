"""API keys: 32 random bytes as text, of which only the SHA-256 is kept.

A slow hash would guard nothing here: nobody guesses 256 random bits.
"""

import base64
import hashlib
from dataclasses import dataclass, field

ENTROPY_BYTES = 32
START = "bx_live_"
SHOWN = len(START) + 4
"""Characters of a key that are kept to tell keys apart."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key on the one occasion that it is whole."""

    secret: str = field(repr=False)
    prefix: str
    digest: bytes


def make_key(entropy: bytes) -> NewKey:
    """A key from 32 fresh random bytes."""
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError("a key is made of 32 random bytes")
    secret = START + base64.urlsafe_b64encode(entropy).rstrip(b"=").decode()
    return NewKey(secret, secret[:SHOWN], digest_of(secret))


def digest_of(secret: str) -> bytes:
    """What is stored of a key."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
