"""A gateway's certificate: making one, and reading what any peer presents (SPEC 17.11).

Self-signed, since nobody but the evidence in it vouches for the key. Keys and serial numbers are
arguments: this knows no randomness but what ECDSA takes itself.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from bombyx.attestation.certificates import Certificate, parse_certificate
from bombyx.attestation.ratls.claims import (
    EVIDENCE_OID,
    MAX_CERTIFICATE_BYTES,
    GatewayClaims,
    Subject,
    encode_claims,
)
from bombyx.attestation.ratls.steps import GatewayStep
from bombyx.errors import (
    CertificateExpired,
    CertificateFromFuture,
    EvidenceMalformed,
    EvidenceMissing,
    EvidenceTooLarge,
    ForgedEvidence,
)

MAX_LIFE_SECONDS: Final = 24 * 3600
COMMON_NAME: Final = "bombyx gateway"
_ECDSA, _ED25519 = "1.2.840.10045.4.3.2", "1.3.101.112"
_P256_SPKI: Final = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200") + b"\x04"
_ED25519_SPKI: Final = bytes.fromhex("302a300506032b6570032100")
_SPKI_SIZES: Final = ((_P256_SPKI, 91), (_ED25519_SPKI, 44))
"""The one spelling of each kind of key: how it begins, and its length in all."""


@dataclass(frozen=True, slots=True)
class PresentedCertificate:
    """A certificate of the right form, signed by its own key; what it carries is not read yet."""

    sha256: str
    public_key: bytes
    not_before: int
    not_after: int
    evidence: bytes

    def subject(self, gateway: str) -> Subject:
        """What its quote must bind, if it is this gateway's."""
        return Subject(gateway, self.public_key, self.not_before, self.not_after)


def public_key_der(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> bytes:
    """A key as certificates hold it: SPKI in DER."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def issue_certificate(
    key: ec.EllipticCurvePrivateKey, claims: GatewayClaims, subject: Subject, *, serial: int
) -> bytes:
    """A certificate in DER for a key of P-256; raises `ValueError` for another key's subject."""
    public = key.public_key()
    if public_key_der(public) != subject.public_key:
        raise ValueError("the subject names another key")
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, COMMON_NAME)])
    evidence = x509.UnrecognizedExtension(
        x509.ObjectIdentifier(EVIDENCE_OID), encode_claims(claims)
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(serial)
        .not_valid_before(datetime.fromtimestamp(subject.not_before, UTC))
        .not_valid_after(datetime.fromtimestamp(subject.not_after, UTC))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(evidence, critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def read_certificate(raw: bytes) -> PresentedCertificate:
    """What a peer presented; raises `EvidenceRefused` at the step `tls_certificate`."""
    step = GatewayStep.TLS_CERTIFICATE
    if len(raw) > MAX_CERTIFICATE_BYTES:
        raise EvidenceTooLarge(step, "the certificate is longer than 64 KiB")
    try:
        found = parse_certificate(raw, limit=MAX_CERTIFICATE_BYTES)
    except ValueError as error:
        raise EvidenceMalformed(step, f"the certificate cannot be read ({error})") from None
    evidence = found.extensions.get(EVIDENCE_OID)
    if evidence is None:
        raise EvidenceMissing(step, "a plain certificate: it carries no evidence")
    _check_own_signature(found)
    return PresentedCertificate(
        sha256=hashlib.sha256(raw).hexdigest(),
        public_key=found.public_key,
        not_before=int(found.not_before.timestamp()),
        not_after=int(found.not_after.timestamp()),
        evidence=evidence,
    )


def check_dates(certificate: PresentedCertificate, now: int) -> None:
    """Alive at `now` (unix seconds), and for no longer than 24 hours in all."""
    step = GatewayStep.TLS_DATES
    if now < certificate.not_before:
        ahead = certificate.not_before - now
        raise CertificateFromFuture(step, f"the certificate begins only in {ahead} s")
    if now >= certificate.not_after:
        raise CertificateExpired(step, f"the certificate ended {now - certificate.not_after} s ago")
    if certificate.not_after - certificate.not_before > MAX_LIFE_SECONDS:
        raise EvidenceMalformed(step, "the certificate claims to live for more than 24 hours")


def _check_own_signature(certificate: Certificate) -> None:
    step = GatewayStep.TLS_CERTIFICATE
    spki = certificate.public_key
    if not any(spki.startswith(head) and len(spki) == size for head, size in _SPKI_SIZES):
        raise EvidenceMalformed(step, "the certificate's key is neither of P-256 nor of Ed25519")
    try:
        key = load_der_public_key(spki)
        if isinstance(key, ec.EllipticCurvePublicKey) and certificate.algorithm == _ECDSA:
            key.verify(certificate.signature, certificate.signed, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, ed25519.Ed25519PublicKey) and certificate.algorithm == _ED25519:
            key.verify(certificate.signature, certificate.signed)
        else:
            raise ForgedEvidence(step, "the certificate is signed in another way than its key")
    except (ValueError, UnsupportedAlgorithm):
        raise EvidenceMalformed(step, "the certificate's key is not usable") from None
    except InvalidSignature:
        raise ForgedEvidence(step, "the certificate is not signed by its own key") from None
