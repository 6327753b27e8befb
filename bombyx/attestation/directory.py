"""What a gateway tells its clients: who serves a model, with which evidence, for which price.

The directory vouches for nothing. Clients verify each entry themselves (SPEC 1.7, 13).
"""

from typing import Annotated

from msgspec import Meta

from bombyx.attestation.collateral import Collateral
from bombyx.attestation.evidence import Evidence
from bombyx.attestation.keyset import Keyset
from bombyx.canonical import Document
from bombyx.money.offer import SignedOffer
from bombyx.units import Count, Hex32

MAX_DIRECTORY_BYTES = 16 * 2**20


class Entry(Document, frozen=True):
    """One worker, relayed verbatim."""

    keyset: Keyset
    evidence: Evidence
    offers: Annotated[list[SignedOffer], Meta(max_length=256)]


class Directory(Document, frozen=True):
    """Answer of `GET /v1/confidential/workers?model=`; collateral by digest."""

    gateway: Hex32
    fee_bps: Count
    default_max_output_tokens: Count
    deadline_s: Count
    now: Count
    workers: Annotated[list[Entry], Meta(max_length=10_000)]
    collateral: dict[str, Collateral]
