"""What hardware vendors publish, as documents with a name and an end (SPEC 17.10).

A gateway fetches them, keeps them by name and by content, and serves them; so neither a client nor
a GPU's owner needs access to a vendor. It vouches for none: each is signed by the vendor, and who
verifies evidence verifies these. A file of them serves whoever is offline.
"""

import hashlib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

from msgspec import Meta

from bombyx import canonical
from bombyx.attestation.collateral import Collateral
from bombyx.canonical import Document
from bombyx.errors import NotCanonical
from bombyx.units import Count, Hex32

MAX_DOCUMENT_BYTES: Final = 2 * 2**20
"""The longest is DCAP collateral with two long revocation lists."""
MAX_ITEMS: Final = 20_000
"""In one file: a VCEK for each machine of a large network."""

_Base64 = Annotated[str, Meta(min_length=4, max_length=1_000_000, pattern=r"\A[A-Za-z0-9+/]+=*\Z")]
_Text = Annotated[str, Meta(min_length=1, max_length=1_000_000)]


class AmdEndorsement(Document, frozen=True):
    """A chip's certificate for one patch level (VCEK), DER in base64."""

    certificate: _Base64


class AmdAuthority(Document, frozen=True):
    """A generation's authorities, PEM, intermediate first, and the root's revocation list (DER)."""

    chain: _Text
    crl: _Base64


class NvidiaReference(Document, frozen=True):
    """Reference measurements of a driver or firmware (RIM): signed XML, verbatim."""

    rim: _Text


class NvidiaStatus(Document, frozen=True):
    """An OCSP answer about one certificate, DER in base64."""

    response: _Base64


VendorDocument = Collateral | AmdEndorsement | AmdAuthority | NvidiaReference | NvidiaStatus

_PRODUCT: Final = "(?:milan|genoa|turin)"
_FORMS: Final[tuple[tuple[type[VendorDocument], str], ...]] = (
    (Collateral, r"tdx/[0-9a-f]{12}/(?:platform|processor)"),
    (AmdEndorsement, rf"sev-snp/{_PRODUCT}/[0-9a-f]{{128}}/[0-9a-f]{{16}}"),
    (AmdAuthority, rf"sev-snp/{_PRODUCT}/(?:vcek|vlek)"),
    (NvidiaReference, r"nvidia/rim/[A-Za-z0-9_.-]{1,120}"),
    (NvidiaStatus, r"nvidia/ocsp/[0-9a-f]{96}/[0-9a-f]{96}/(?:[0-9a-f]{2}){1,20}"),
)
KINDS: Final[Mapping[str, type[VendorDocument]]] = MappingProxyType(
    {kind.__name__: kind for kind, _ in _FORMS}
)


def kind_of(name: str) -> type[VendorDocument]:
    """What kind of document a name stands for; raises `ValueError` for any other text."""
    for kind, form in _FORMS:
        if re.fullmatch(form, name, re.ASCII):
            return kind
    raise ValueError("this names no collateral of a platform")


def tdx_name(fmspc: str, ca: str) -> str:
    """DCAP collateral of a family of Intel processors; `fmspc` 6 bytes in hex."""
    return f"tdx/{fmspc.lower()}/{ca}"


def vcek_name(product: str, chip_id: bytes, tcb: bytes) -> str:
    """A chip's certificate, by its id (64 bytes) and the patch level of a report (8 bytes)."""
    return f"sev-snp/{product}/{chip_id.hex()}/{tcb.hex()}"


def authority_name(product: str, kind: str) -> str:
    """AMD's authorities above keys of chips (`vcek`) or clouds (`vlek`), and their list."""
    return f"sev-snp/{product}/{kind}"


def reference_name(identifier: str) -> str:
    """NVIDIA's reference measurements, by the name that NVIDIA gives them."""
    return f"nvidia/rim/{identifier}"


def status_name(issuer_name_hash: bytes, issuer_key_hash: bytes, serial: int) -> str:
    """NVIDIA's answer about a certificate, by its issuer's SHA-384 hashes and its number (> 0)."""
    number = serial.to_bytes((serial.bit_length() + 7) // 8, "big")
    return f"nvidia/ocsp/{issuer_name_hash.hex()}/{issuer_key_hash.hex()}/{number.hex()}"


def read_document(name: str, data: bytes) -> VendorDocument:
    """A document of the name's kind; raises `NotCanonical` or `ValueError`."""
    if len(data) > MAX_DOCUMENT_BYTES:
        raise NotCanonical("the collateral is longer than any vendor's")
    return canonical.decode(data, kind_of(name))


class VendorItem(Document, frozen=True):
    """One document in a file: canonical JSON as a string; unix seconds."""

    name: Annotated[str, Meta(max_length=400)]
    fetched_at: Count
    next_update: Count
    document: Annotated[str, Meta(max_length=MAX_DOCUMENT_BYTES)]
    digest: Hex32


class VendorFile(Document, frozen=True):
    """What `bombyx collateral export` writes: items in the order of their names."""

    v: Literal["bombyx-collateral/1"]
    items: Annotated[list[VendorItem], Meta(max_length=MAX_ITEMS)]


def vendor_item(name: str, data: bytes, *, fetched_at: int, next_update: int) -> VendorItem:
    """An item around canonical bytes."""
    digest = hashlib.sha256(data).hexdigest()
    return VendorItem(
        name=name,
        fetched_at=fetched_at,
        next_update=next_update,
        document=data.decode(),
        digest=digest,
    )


def read_file(data: bytes, *, most: int = MAX_ITEMS) -> VendorFile:
    """A file of at most so many documents, each of its own kind and digest.

    Raises `NotCanonical` or `ValueError`; a file with one bad document is bad.
    """
    found = canonical.decode(data, VendorFile)
    if len(found.items) > most:
        raise NotCanonical(f"the file holds more than {most} documents")
    names = [item.name for item in found.items]
    if names != sorted(set(names)):
        raise NotCanonical("the file names its documents twice or in disorder")
    for item in found.items:
        raw = item.document.encode()
        if hashlib.sha256(raw).hexdigest() != item.digest:
            raise NotCanonical(f"{item.name} is not what its digest says")
        read_document(item.name, raw)
    return found
