"""The keys and models that one worker boot vouches for (SPEC 1.7).

The worker's id is the SHA-256 of this document, and evidence binds exactly that digest.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta

from bombyx import canonical
from bombyx.canonical import Document
from bombyx.units import Count, Hex16, Hex32, Name

HPKE_ALG: Final = "mlkem768-x25519"
MAX_KEYSET_LIFE_SECONDS = 24 * 3600


class HpkeKey(Document, frozen=True):
    """A public key to seal to: ML-KEM-768 (1184 bytes) then X25519 (32), base64url unpadded."""

    id: Hex16
    alg: Literal["mlkem768-x25519"]
    pk: Annotated[str, Meta(min_length=1622, max_length=1622, pattern=r"\A[A-Za-z0-9_-]+\Z")]


class ModelRecord(Document, frozen=True):
    """A served model: digests of weights and engine, and the bounds that clients reserve by."""

    id: Name
    weights: Hex32
    engine: Hex32
    bytes_factor: Annotated[int, Meta(ge=1, le=64)]
    overhead: Annotated[int, Meta(ge=0, le=1_000_000)]
    max_image_tokens: Annotated[int, Meta(ge=0, le=1_000_000)]
    context: Annotated[int, Meta(ge=1, le=100_000_000)]


class Keyset(Document, frozen=True):
    """What a worker is, for at most 24 hours (`not_after`, unix seconds)."""

    v: Literal["bombyx/1"]
    hpke: Annotated[list[HpkeKey], Meta(min_length=1, max_length=4)]
    receipt_key: Hex32
    link_key: Hex32
    not_after: Count
    boot: Hex16
    platform: Literal["tdx", "sev-snp", "vtpm", "simulated"]
    models: Annotated[list[ModelRecord], Meta(min_length=1, max_length=64)]
    payout: Annotated[str, Meta(min_length=1, max_length=80, pattern=r"\A[A-Za-z0-9:_-]+\Z")]


def keyset_digest(keyset: Keyset) -> str:
    """The worker's id: hex SHA-256 of the canonical keyset."""
    return canonical.digest(keyset).hex()
