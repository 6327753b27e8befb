"""What a certificate's evidence says, how it lies in the certificate, what its quote binds.

Everything that is said about the key is under the quote: its role, its gateway, its dates. So whose
certificate this is and when it ends is the machine's word, and not only the key's (SPEC 17.11).
"""

import hashlib
import zlib
from dataclasses import dataclass
from typing import Final, Literal

from msgspec import UNSET, UnsetType

from bombyx import canonical
from bombyx.attestation import der
from bombyx.attestation.collateral import Collateral
from bombyx.attestation.evidence import Evidence
from bombyx.attestation.ratls.steps import GatewayStep
from bombyx.canonical import Document
from bombyx.errors import EvidenceMalformed, EvidenceTooLarge, NotCanonical
from bombyx.units import Hex32

EVIDENCE_OID: Final = "2.25.20943385594684483112211203717060156496"
"""The extension: below 2.25 each UUID is an arc of its own, free for whoever made it (X.667). This
one is UUIDv5 of `urn:bombyx:ra-tls` as a URL. TCG's 2.23.133.5.4.9 promises tagged CBOR."""
MAX_CERTIFICATE_BYTES: Final = 64 * 1024
"""With DCAP collateral it has 10 to 20 KiB; TLS libraries stop reading at 100 KiB."""
MAX_CLAIMS_BYTES: Final = 2 * 1024 * 1024
"""Unpacked: collateral with two long revocation lists."""
_LABEL: Final = b"bombyx/1/ra-tls\0"
_LEVEL: Final = 9


class GatewayClaims(Document, frozen=True):
    """What a gateway's certificate carries; `gateway` is its identity key."""

    v: Literal["bombyx/1"]
    role: Literal["gateway"]
    gateway: Hex32
    evidence: Evidence
    collateral: Collateral | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class Subject:
    """What a quote binds: a key (SPKI in DER) of a gateway from and to a second (unix)."""

    gateway: str
    public_key: bytes
    not_before: int
    not_after: int


def ratls_report_data(subject: Subject) -> bytes:
    """64 bytes for the quote of a gateway's certificate (SPEC 17.11)."""
    said = {
        "gateway": subject.gateway,
        "not_after": subject.not_after,
        "not_before": subject.not_before,
        "role": "gateway",
        "spki": hashlib.sha256(subject.public_key).hexdigest(),
    }
    return hashlib.sha512(_LABEL + canonical.digest(said)).digest()


def encode_claims(claims: GatewayClaims) -> bytes:
    """The extension's value: an OCTET STRING around packed canonical JSON."""
    packed = zlib.compress(canonical.encode(claims), _LEVEL)
    length = len(packed).to_bytes(3, "big").lstrip(b"\0")
    short = len(packed) < 0x80  # noqa: PLR2004  (DER's own boundary)
    head = length if short else bytes((0x80 + len(length),)) + length
    return bytes((der.OCTETS,)) + (head or b"\0") + packed


def parse_claims(value: bytes) -> GatewayClaims:
    """Read the extension; raises `EvidenceMalformed` or `EvidenceTooLarge`."""
    step = GatewayStep.EVIDENCE_FORM
    try:
        (tag, packed, _), end = der.read(value)
        if tag != der.OCTETS or end != len(value):
            raise EvidenceMalformed(step, "the certificate's evidence is no octet string")
        reader = zlib.decompressobj()
        data = reader.decompress(packed, MAX_CLAIMS_BYTES)
    except (ValueError, zlib.error):
        raise EvidenceMalformed(step, "the certificate's evidence cannot be unpacked") from None
    if reader.unconsumed_tail:
        raise EvidenceTooLarge(step, "the certificate's evidence unpacks to more than 2 MiB")
    if not reader.eof or reader.unused_data:
        raise EvidenceMalformed(step, "the certificate's evidence is torn, or something follows")
    try:
        return canonical.decode(data, GatewayClaims)
    except NotCanonical as error:
        raise EvidenceMalformed(step, error.message) from None
