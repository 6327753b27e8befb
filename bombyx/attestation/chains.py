"""Certificate chains to a pinned root, from the root down (SPEC 17.2).

Only keys that the chain above vouches for are ever used, so a stranger's certificates cost no more
than reading them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from bombyx.attestation.certificates import Certificate, parse_certificate
from bombyx.attestation.factors import Factor
from bombyx.errors import (
    BrokenChain,
    CertificateExpired,
    CertificateFromFuture,
    EvidenceRefused,
    UnknownRoot,
)

_SCHEMES: Final = MappingProxyType(
    {
        "secp256r1": ("1.2.840.10045.4.3.2", hashes.SHA256()),
        "secp384r1": ("1.2.840.10045.4.3.3", hashes.SHA384()),
    }
)
"""The one way in which a key of a curve signs certificates: ECDSA with the hash of its size."""


@dataclass(frozen=True, slots=True)
class Blame:
    """The factor that a faulty chain fails, and what each fault is called."""

    factor: Factor
    whose: str
    broken: type[EvidenceRefused] = BrokenChain
    root: type[EvidenceRefused] = UnknownRoot
    expired: type[EvidenceRefused] = CertificateExpired
    early: type[EvidenceRefused] = CertificateFromFuture

    def is_broken(self, why: str) -> EvidenceRefused:
        """The chain does not hold."""
        return self.broken(self.factor, f"{self.whose}: {why}")


def check_dates(begin: datetime, end: datetime, *, now: int, blame: Blame) -> None:
    """Valid at `now`, in unix seconds."""
    if now < begin.timestamp():
        raise blame.early(blame.factor, f"{blame.whose} begins only on {begin:%Y-%m-%d}")
    if now > end.timestamp():
        raise blame.expired(blame.factor, f"{blame.whose} ended on {end:%Y-%m-%d}")


def verify_chain(
    chain: Sequence[bytes], root: bytes, *, now: int, blame: Blame
) -> tuple[Certificate, ...]:
    """The certificates (DER, leaf first) if they lead to the pinned root, which is the last."""
    certificates = link_chain(chain, root, blame)
    for one in certificates:
        check_dates(one.not_before, one.not_after, now=now, blame=blame)
    return certificates


def link_chain(chain: Sequence[bytes], root: bytes, blame: Blame) -> tuple[Certificate, ...]:
    """The same at any time: what can be remembered."""
    if not chain or chain[-1] != root:
        raise blame.root(blame.factor, f"{blame.whose} does not end in the pinned root")
    certificates = (*(load(der, blame) for der in chain[:-1]), _pinned(root))
    for parent, child in pairwise(reversed(certificates)):
        check_issued(child, parent, blame)
    return certificates


@lru_cache(maxsize=8)
def _pinned(root: bytes) -> Certificate:
    """A root that was compared already; there are as many as vendors."""
    return parse_certificate(root)


def load(der: bytes, blame: Blame) -> Certificate:
    """One certificate; refused where it cannot be read."""
    try:
        return parse_certificate(der)
    except ValueError as error:
        raise blame.is_broken(f"a certificate cannot be read ({error})") from None


def ec_key(certificate: Certificate, blame: Blame) -> ec.EllipticCurvePublicKey:
    """The certificate's key, of P-256 or P-384. Only for one that the chain above vouches for."""
    try:
        key = load_der_public_key(certificate.public_key)
    except (ValueError, UnsupportedAlgorithm):
        raise blame.is_broken("a key cannot be read") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _SCHEMES:
        raise blame.is_broken("a key is neither of P-256 nor of P-384")
    return key


def check_issued(child: Certificate, parent: Certificate, blame: Blame) -> None:
    """The one above signed the other, and may. Only for a parent that is vouched for itself."""
    if child.issuer != parent.subject or not parent.may_issue:
        raise blame.is_broken("a certificate is not by the one above it")
    if not is_signed(parent, child.signature, child.signed, blame):
        raise blame.is_broken("a certificate is not by the one above it")
    if child.algorithm != signing_algorithm(parent, blame):
        raise blame.is_broken("a certificate is signed in another way than its key signs")


def is_signed(signer: Certificate, signature: bytes, signed: bytes, blame: Blame) -> bool:
    """Whether the certificate's key signed, in the one way in which keys of its curve sign."""
    key = ec_key(signer, blame)
    _, digest = _SCHEMES[key.curve.name]
    try:
        key.verify(signature, signed, ec.ECDSA(digest))
    except InvalidSignature:
        return False
    return True


def signing_algorithm(signer: Certificate, blame: Blame) -> str:
    """What that way is called (OID)."""
    return _SCHEMES[ec_key(signer, blame).curve.name][0]
