"""Certificates and revocation lists under a simulated root; none of them is Intel's."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from worker.attest.sgx_extension import OID, PlatformDescription, encode_extension

_SLACK = timedelta(days=1)
"""Before `now`, for verifiers whose clock is behind."""
_LIFE = timedelta(days=3650)
_CRL_LIFE = timedelta(days=30)
_CRL_URL = "http://127.0.0.1/simulated.crl"
"""The verifier wants a distribution point; nobody ever fetches this one."""


@dataclass(frozen=True, slots=True, repr=False)
class Authority:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def self_signed(name: str, *, now: int) -> Authority:
    """A new root."""
    key = new_key()
    subject = _subject(name)
    builder = _builder(subject, subject, key.public_key(), now=now)
    builder = _usage(builder, key.public_key(), key.public_key(), is_ca=True)
    return Authority(builder.sign(key, hashes.SHA256()), key)


def issue_authority(name: str, issuer: Authority, *, now: int) -> Authority:
    """A certificate authority below another."""
    return _issue(name, issuer, is_ca=True, now=now)


def issue_leaf(
    name: str, issuer: Authority, *, now: int, platform: PlatformDescription | None = None
) -> Authority:
    """A signing certificate; with a platform's description it is that platform's."""
    return _issue(name, issuer, is_ca=False, now=now, platform=platform)


def revocation_list(issuer: Authority, revoked: Sequence[x509.Certificate], *, now: int) -> bytes:
    """DER of the issuer's list, current from a day before `now` (unix seconds) for 31 days."""
    moment = _moment(now)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(moment - _SLACK)
        .next_update(moment + _CRL_LIFE)
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(_key_id(issuer.key.public_key()), critical=False)
    )
    for certificate in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(moment - _SLACK).build())
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def sign_raw(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """ECDSA P-256 with SHA-256 as 64 bytes r||s."""
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def raw_public_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public point as 64 bytes x||y."""
    point = key.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    return point[1:]


def pem_chain(*certificates: x509.Certificate) -> bytes:
    """Certificates in PEM, leaf first."""
    return b"".join(item.public_bytes(serialization.Encoding.PEM) for item in certificates)


def _issue(
    name: str,
    issuer: Authority,
    *,
    is_ca: bool,
    now: int,
    platform: PlatformDescription | None = None,
) -> Authority:
    key = new_key()
    above = issuer.certificate.subject
    builder = _builder(_subject(name), above, key.public_key(), now=now)
    builder = _usage(builder, key.public_key(), issuer.key.public_key(), is_ca=is_ca)
    url = x509.UniformResourceIdentifier(_CRL_URL)
    point = x509.DistributionPoint([url], None, None, None)
    builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
    if platform is not None:
        value = encode_extension(platform)
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(OID), value)
        builder = builder.add_extension(extension, critical=False)
    return Authority(builder.sign(issuer.key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, now: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(now) - _SLACK)
        .not_valid_after(_moment(now) + _LIFE)
    )


def _usage(
    builder: x509.CertificateBuilder,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    *,
    is_ca: bool,
) -> x509.CertificateBuilder:
    usage = x509.KeyUsage(
        digital_signature=not is_ca,
        content_commitment=not is_ca,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_key_id(issuer_key), critical=False)
    )


def _key_id(key: ec.EllipticCurvePublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _moment(now: int) -> datetime:
    return datetime.fromtimestamp(now, tz=UTC)
