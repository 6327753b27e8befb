"""From AMD's built-in root to the key that signed a report (SPEC 17.5)."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from bombyx.attestation.chains import check_dates, ec_key, load
from bombyx.attestation.factors import Factor
from bombyx.attestation.snp.endorsement import BLAME, KINDS, Endorsement
from bombyx.attestation.snp.product import Product
from bombyx.attestation.snp.report import SnpReport
from bombyx.errors import (
    CollateralAltered,
    CollateralExpired,
    CollateralFromFuture,
    CollateralMalformed,
    EvidenceRevoked,
)

MAX_CRL_BYTES = 64 * 1024
"""AMD's lists name a handful of authorities."""
MAX_CERTIFICATES = 4
_CURVE = "secp384r1"
_SALT_BYTES = 48


def authenticate(
    certificates: tuple[bytes, ...],
    report: SnpReport,
    *,
    products: Mapping[str, Product],
    now: int,
) -> tuple[Endorsement, Product]:
    """The endorsement of the key that must have signed, out of what was shown.

    Every certificate shown must have its place: the endorsement, and the pinned ones above it.
    """
    if len(certificates) > MAX_CERTIFICATES:
        raise BLAME.is_broken("there are more certificates than a chain has")
    shown = [(der, load(der, BLAME)) for der in certificates]
    endorsements = [one for _, one in shown if one.name in KINDS]
    if len(endorsements) != 1:
        raise BLAME.is_broken("exactly one VCEK or VLEK certificate is needed")
    (endorsement,) = endorsements
    product = _product(endorsement, products)
    signer = product.asvk if KINDS[endorsement.name] else product.ask
    for der, one in shown:
        _check_place(der, one, signer, product)
    _check_endorsed(endorsement, signer, report, now=now)
    for authority in (signer, product.ark):
        begin, end = _dates(authority)
        check_dates(begin, end, now=now, blame=BLAME)
    return endorsement, product


def _product(endorsement: Endorsement, products: Mapping[str, Product]) -> Product:
    """The generation whose authority the endorsement says it is by."""
    middle = "SEV-VLEK-" if KINDS[endorsement.name] else "SEV-"
    for product in products.values():
        if endorsement.issuer_name == middle + product.name.capitalize():
            return product
    raise BLAME.is_broken("it is by no authority of AMD that is known")


def _check_place(der: bytes, one: Endorsement, signer: bytes, product: Product) -> None:
    if one.name in KINDS or der in (signer, product.ark):
        return
    if one.name.startswith("ARK-"):
        raise BLAME.root(BLAME.factor, "the root shown is not AMD's for this processor")
    raise BLAME.is_broken("a certificate shown has no place in this chain")


def _check_endorsed(
    endorsement: Endorsement, signer: bytes, report: SnpReport, *, now: int
) -> None:
    if not _is_signed(_key(signer), endorsement.signature, endorsement.signed):
        raise BLAME.is_broken("it is not signed by AMD's authority")
    check_dates(endorsement.not_before, endorsement.not_after, now=now, blame=BLAME)
    if KINDS[endorsement.name] != report.signing_key:
        raise BLAME.is_broken(f"the report is not signed by a key like {endorsement.name}")


def endorsed_key(endorsement: Endorsement) -> ec.EllipticCurvePublicKey:
    """The key that the certificate is for."""
    key = ec_key(endorsement, BLAME)
    if key.curve.name != _CURVE:
        raise BLAME.is_broken("its key is not of P-384")
    return key


def check_revocation(crl: bytes | None, product: Product, *, asked: int, now: int) -> int | None:
    """Until when AMD's list says that authority number `asked` is not revoked; None without one."""
    if crl is None:
        return None
    found = _load_list(crl)
    factor = Factor.VENDOR_COLLATERAL
    if not _is_signed(_key(product.ark), found.signature, found.tbs_certlist_bytes):
        raise CollateralAltered(factor, "AMD's revocation list is not signed by its root")
    end = found.next_update_utc
    if found.last_update_utc.timestamp() > now:
        raise CollateralFromFuture(factor, "AMD's revocation list is from later")
    if end is None or end.timestamp() < now:
        raise CollateralExpired(factor, "AMD's revocation list has expired")
    if found.get_revoked_certificate_by_serial_number(asked) is not None:
        raise EvidenceRevoked(Factor.TEE_TCB_NOT_REVOKED, "AMD revoked the authority of this key")
    return int(end.timestamp())


def _load_list(crl: bytes) -> x509.CertificateRevocationList:
    factor = Factor.VENDOR_COLLATERAL
    if len(crl) > MAX_CRL_BYTES:
        raise CollateralMalformed(factor, "AMD's revocation list is longer than 64 KiB")
    try:
        return x509.load_der_x509_crl(crl)
    except ValueError:
        raise CollateralMalformed(factor, "AMD's revocation list cannot be read") from None


def authority_serial(endorsement: Endorsement, product: Product) -> int:
    """The serial number of the authority that endorsed the key."""
    signer = product.asvk if KINDS[endorsement.name] else product.ask
    return x509.load_der_x509_certificate(signer).serial_number


@cache
def _key(authority: bytes) -> rsa.RSAPublicKey:
    key = x509.load_der_x509_certificate(authority).public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise TypeError("AMD's authorities have RSA keys")
    return key


@cache
def _dates(authority: bytes) -> tuple[datetime, datetime]:
    certificate = x509.load_der_x509_certificate(authority)
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc


def _is_signed(key: rsa.RSAPublicKey, signature: bytes, signed: bytes) -> bool:
    digest = hashes.SHA384()
    scheme = padding.PSS(mgf=padding.MGF1(digest), salt_length=_SALT_BYTES)
    try:
        key.verify(signature, signed, scheme, digest)
    except InvalidSignature:
        return False
    return True
