"""OCSP answers about devices that do not exist, by a responder of our own root."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.bombyx.attestation.gpus import NOW, ROOT, Gpu, key

SIGNS = ExtendedKeyUsageOID.OCSP_SIGNING
GOOD, REVOKED, UNKNOWN = (
    ocsp.OCSPCertStatus.GOOD,
    ocsp.OCSPCertStatus.REVOKED,
    ocsp.OCSPCertStatus.UNKNOWN,
)


def moment(at: int) -> datetime:
    return datetime.fromtimestamp(at, tz=UTC)


@cache
def responder(
    name: str = "RESPONDER",
    *,
    signer: str = "root",
    purposes: tuple[x509.ObjectIdentifier, ...] = (SIGNS,),
    ends: int = NOW + 86400,
    curve: str = "P-384",
) -> x509.Certificate:
    """A certificate that may sign answers; its key is `key(name)`."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.load_der_x509_certificate(ROOT).subject)
        .public_key(signing_key(name, curve).public_key())
        .serial_number(77)
        .not_valid_before(moment(NOW - 86400))
        .not_valid_after(moment(ends))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return builder.sign(key(signer), hashes.SHA384())


@cache
def signing_key(name: str, curve: str = "P-384") -> ec.EllipticCurvePrivateKey:
    return key(name) if curve == "P-384" else ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Said:
    """One answer, right in all respects that are not changed; times in unix seconds."""

    gpu: Gpu = field(default_factory=Gpu)
    status: ocsp.OCSPCertStatus = GOOD
    reason: x509.ReasonFlags | None = None
    since: int = NOW - 3600
    until: int | None = NOW + 3600
    issuer: bytes = ROOT
    about: bytes | None = None
    digest: hashes.HashAlgorithm = field(default_factory=hashes.SHA384)
    signer: str = "RESPONDER"
    by_issuer: bool = False
    by_name: bool = False
    certificate: x509.Certificate | None = None
    shown: bool = True
    critical: bool = False

    def der(self) -> bytes:
        about = x509.load_der_x509_certificate(self.about or self.gpu.chain()[1])
        issuer = x509.load_der_x509_certificate(self.issuer)
        own = self.certificate or responder()
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=about,
            issuer=issuer,
            algorithm=self.digest,
            cert_status=self.status,
            this_update=moment(self.since),
            next_update=None if self.until is None else moment(self.until),
            revocation_time=moment(self.since) if self.status is REVOKED else None,
            revocation_reason=self.reason,
        )
        spelling = ocsp.OCSPResponderEncoding
        form = spelling.NAME if self.by_name else spelling.HASH
        builder = builder.responder_id(form, issuer if self.by_issuer else own)
        if self.shown and not self.by_issuer:
            builder = builder.certificates([own])
        if self.critical:
            builder = builder.add_extension(x509.OCSPNonce(b"n" * 16), critical=True)
        signing = key("root") if self.by_issuer else key(self.signer)
        return builder.sign(signing, hashes.SHA384()).public_bytes(Encoding.DER)
