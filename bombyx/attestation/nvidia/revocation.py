"""Whether NVIDIA revoked a device's certificates: its OCSP answers (SPEC 17.6, RFC 6960).

An answer counts for one certificate, by number and by both hashes of the issuer; it is signed by
the issuer itself, or by a responder whom the issuer certified for nothing else. Answers carry no
nonce: they are fetched by others, kept, and good for as long as they say. The first certificate of
a chain is the device's word about its firmware, of which no responder knows; all above it, but the
pinned root, must be good.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from bombyx.attestation import der
from bombyx.attestation.certificates import Certificate
from bombyx.attestation.chains import (
    Blame,
    check_dates,
    check_issued,
    is_signed,
    load,
    signing_algorithm,
)
from bombyx.attestation.factors import Factor
from bombyx.errors import (
    CollateralAltered,
    CollateralChain,
    CollateralExpired,
    CollateralFromFuture,
    CollateralMalformed,
    EvidenceRevoked,
)

MAX_STATUS_BYTES: Final = 16 * 1024
"""An answer with its responder's certificate has 1 to 2 KiB."""
MAX_ANSWERS: Final = 64
"""16 devices, each with its own certificate and up to three above it."""
STATUS_SECONDS: Final = 3600
"""How long an answer is good that does not name its next one."""
_FACTOR: Final = Factor.NVIDIA_NOT_REVOKED
_BLAME: Final = Blame(
    _FACTOR,
    "the responder's certificate",
    broken=CollateralChain,
    root=CollateralChain,
    expired=CollateralExpired,
    early=CollateralFromFuture,
)
_PURPOSES: Final = "2.5.29.37"
_SIGNS_ANSWERS: Final = "1.3.6.1.5.5.7.3.9"
_DIGESTS: Final = ("sha1", "sha256", "sha384", "sha512")
"""How an answer may name an issuer. It is signed by that issuer: SHA-1 opens nothing here."""
_MOST_CERTIFICATES = 4
Link = tuple[Certificate, Certificate]
"""A certificate and the one above it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One OCSP answer about one certificate; times in unix seconds, `reason` as RFC 5280 says."""

    serial: int
    digest: str
    name_hash: bytes
    key_hash: bytes
    status: ocsp.OCSPCertStatus
    reason: str
    since: int
    until: int
    responder_name: bytes | None
    responder_key: bytes | None
    certificates: tuple[bytes, ...]
    algorithm: str
    signed: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Standing:
    """What the answers say; `good` of `asked` certificates, until unix seconds (None: no end)."""

    good: int
    asked: int
    until: int | None


def parse_answer(data: bytes) -> Answer:
    """Read one answer (DER); refuses at `nvidia_not_revoked`."""
    if len(data) > MAX_STATUS_BYTES:
        raise _malformed("it is longer than 16 KiB")
    try:
        return _read(data)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _malformed("it cannot be read") from None


def _read(data: bytes) -> Answer:
    answer = ocsp.load_der_ocsp_response(data)
    if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise _malformed(f"the responder only says `{answer.response_status.name.lower()}`")
    (single,) = answer.responses
    extensions = (*answer.extensions, *answer.single_extensions)
    if any(one.critical for one in extensions) or len(answer.certificates) > _MOST_CERTIFICATES:
        raise _malformed("it wants what is not known, or carries too many certificates")
    end = single.next_update_utc or single.this_update_utc + timedelta(seconds=STATUS_SECONDS)
    name = answer.responder_name
    reason = single.revocation_reason
    return Answer(
        serial=single.serial_number,
        digest=single.hash_algorithm.name,
        name_hash=single.issuer_name_hash,
        key_hash=single.issuer_key_hash,
        status=single.certificate_status,
        reason="no reason given" if reason is None else str(reason.value),
        since=int(single.this_update_utc.timestamp()),
        until=int(end.timestamp()),
        responder_name=None if name is None else name.public_bytes(),
        responder_key=answer.responder_key_hash,
        certificates=tuple(one.public_bytes(Encoding.DER) for one in answer.certificates),
        algorithm=answer.signature_algorithm_oid.dotted_string,
        signed=answer.tbs_response_bytes,
        signature=answer.signature,
    )


def check_standing(
    chains: Iterable[Sequence[Certificate]], answers: Sequence[bytes], *, now: int
) -> Standing:
    """What NVIDIA says about all devices' chains (leaf first, verified up to the pinned root).

    Raises `EvidenceRevoked` for a certificate that is revoked or on hold, and for an answer that
    is not NVIDIA's or not of `now` (unix seconds). Answers about others are left aside.
    """
    if len(answers) > MAX_ANSWERS:
        raise _malformed(f"there are more than {MAX_ANSWERS}")
    parsed = [parse_answer(one) for one in answers]
    links = {child.raw: (child, issuer) for chain in chains for child, issuer in links_of(chain)}
    good, ends = 0, []
    for link in links.values():
        about = [one for one in parsed if _is_about(one, link)]
        for one in about:
            _check_answer(one, link, now=now)
            ends.append(one.until)
        good += any(one.status is ocsp.OCSPCertStatus.GOOD for one in about) and not any(
            one.status is ocsp.OCSPCertStatus.UNKNOWN for one in about
        )
    return Standing(good, len(links), min(ends, default=None))


def links_of(chain: Sequence[Certificate]) -> Iterator[Link]:
    """The certificates of a device that a responder knows, each with its issuer."""
    return pairwise(chain[1:])


def issuer_hashes(issuer: Certificate, digest: str = "sha384") -> tuple[bytes, bytes]:
    """Hashes of the issuer's name and of its key's bits, as an answer names it."""
    _, key = der.children(issuer.public_key, der.SEQUENCE, 2)
    said = (issuer.subject, der.bits(key))
    name, bits = (hashlib.new(digest, one, usedforsecurity=False).digest() for one in said)
    return name, bits


def _is_about(answer: Answer, link: Link) -> bool:
    child, issuer = link
    if answer.serial != child.serial or answer.digest not in _DIGESTS:
        return False
    return (answer.name_hash, answer.key_hash) == issuer_hashes(issuer, answer.digest)


def _check_answer(answer: Answer, link: Link, *, now: int) -> None:
    child, issuer = link
    signer = _signer(answer, issuer, now=now)
    if answer.algorithm != signing_algorithm(signer, _BLAME) or not is_signed(
        signer, answer.signature, answer.signed, _BLAME
    ):
        raise CollateralAltered(_FACTOR, "NVIDIA's answer is not signed by its responder")
    if now < answer.since:
        raise CollateralFromFuture(_FACTOR, "NVIDIA's answer about revocation is from later")
    if now >= answer.until:
        raise CollateralExpired(_FACTOR, "NVIDIA's answer about revocation has expired")
    if answer.status is ocsp.OCSPCertStatus.REVOKED:
        raise EvidenceRevoked(_FACTOR, f"NVIDIA revoked {child.name} ({answer.reason})")


def _signer(answer: Answer, issuer: Certificate, *, now: int) -> Certificate:
    """The issuer, or one whom it certified to sign answers and that the answer names."""
    if _is_named(answer, issuer):
        return issuer
    for raw in answer.certificates:
        one = load(raw, _BLAME)
        if _is_named(answer, one):
            _check_delegated(raw, issuer.raw)
            check_dates(one.not_before, one.not_after, now=now, blame=_BLAME)
            return one
    raise CollateralChain(_FACTOR, "NVIDIA's answer does not show who signed it")


@lru_cache(maxsize=64)
def _check_delegated(raw: bytes, issuer: bytes) -> None:
    """A responder answers for thousands of devices: remembered, dates apart; `issuer` is proven."""
    one = load(raw, _BLAME)
    check_issued(one, load(issuer, _BLAME), _BLAME)
    try:
        purposes = der.children(one.extensions.get(_PURPOSES, b""), der.SEQUENCE)
        named = [der.oid_text(purpose) for purpose in purposes]
    except ValueError:
        named = []
    if _SIGNS_ANSWERS not in named:
        raise CollateralChain(_FACTOR, "the responder is not certified to answer for its issuer")


def _is_named(answer: Answer, one: Certificate) -> bool:
    if answer.responder_name is not None:
        return answer.responder_name == one.subject
    try:
        return answer.responder_key == issuer_hashes(one, "sha1")[1]
    except ValueError:
        return False  # a key that cannot be read signed nothing


def _malformed(why: str) -> CollateralMalformed:
    return CollateralMalformed(_FACTOR, f"NVIDIA's answer about revocation: {why}")
