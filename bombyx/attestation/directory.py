"""What a gateway tells its clients: who serves a model, with which evidence, for which price.

The directory vouches for nothing. Clients verify each entry themselves (SPEC 1.7, 13).
"""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from bombyx.attestation.collateral import Collateral
from bombyx.attestation.evidence import Evidence
from bombyx.attestation.keyset import Keyset
from bombyx.attestation.vendor import MAX_DOCUMENT_BYTES
from bombyx.canonical import Document
from bombyx.money.offer import SignedOffer
from bombyx.units import Count, Hex32

MAX_DIRECTORY_BYTES = 16 * 2**20
MAX_VENDOR_NAMES = 17
"""A list for the CPU, a reference for each GPU."""
VendorName = Annotated[str, Meta(max_length=400)]


class Entry(Document, frozen=True):
    """One worker, relayed verbatim; `vendor` names the documents that bear on its evidence."""

    keyset: Keyset
    evidence: Evidence
    offers: Annotated[list[SignedOffer], Meta(max_length=256)]
    vendor: Annotated[list[VendorName], Meta(max_length=MAX_VENDOR_NAMES)] | UnsetType = UNSET


class Directory(Document, frozen=True):
    """Answer of `GET /v1/confidential/workers?model=`; collateral by digest.

    `vendor` has vendors' documents by name (SPEC 17.10), each as the text of its canonical form.
    What is absent is not known.
    """

    gateway: Hex32
    fee_bps: Count
    default_max_output_tokens: Count
    deadline_s: Count
    now: Count
    workers: Annotated[list[Entry], Meta(max_length=10_000)]
    collateral: dict[str, Collateral]
    vendor: dict[VendorName, Annotated[str, Meta(max_length=MAX_DOCUMENT_BYTES)]] | UnsetType = (
        UNSET
    )
