"""How evidence lies in a certificate (SPEC 17.11): one form, bounded whatever it unpacks to."""

import hashlib
import uuid
import zlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from bombyx import canonical
from bombyx.attestation.ratls.certificate import issue_certificate
from bombyx.attestation.ratls.claims import (
    EVIDENCE_OID,
    MAX_CLAIMS_BYTES,
    encode_claims,
    parse_claims,
    ratls_report_data,
)
from bombyx.errors import EvidenceMalformed, EvidenceTooLarge
from tests.bombyx.attestation.ratls.minting import HONEST

CLAIMS = HONEST.made()


def octets(data: bytes) -> bytes:
    if len(data) < 0x80:
        return bytes((0x04, len(data))) + data
    size = len(data).to_bytes(3, "big").lstrip(b"\0")
    return bytes((0x04, 0x80 + len(size))) + size + data


def test_the_oid_is_the_uuid_of_its_name() -> None:
    assert f"2.25.{uuid.uuid5(uuid.NAMESPACE_URL, 'urn:bombyx:ra-tls').int}" == EVIDENCE_OID


def test_claims_come_back_as_they_were() -> None:
    assert parse_claims(encode_claims(CLAIMS)) == CLAIMS


@pytest.mark.spec("17.11-a")
def test_report_data_is_as_the_specification_computes_it() -> None:
    subject = HONEST.subject
    said = canonical.digest(
        {
            "gateway": subject.gateway,
            "not_after": subject.not_after,
            "not_before": subject.not_before,
            "role": "gateway",
            "spki": hashlib.sha256(subject.public_key).hexdigest(),
        }
    )
    assert ratls_report_data(subject) == hashlib.sha512(b"bombyx/1/ra-tls\0" + said).digest()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x04\x05abc",
        b"\x30\x03abc",
        octets(b"abc"),
        octets(b""),
        encode_claims(CLAIMS) + b"\0",
        octets(zlib.compress(b"{}")),
        octets(zlib.compress(canonical.encode(CLAIMS) + b" ")),
        octets(zlib.compress(canonical.encode(CLAIMS))[:-5]),
        octets(zlib.compress(canonical.encode(CLAIMS)) + b"x"),
    ],
)
def test_any_other_form_is_refused(value: bytes) -> None:
    with pytest.raises(EvidenceMalformed):
        parse_claims(value)


def test_what_unpacks_to_more_than_its_bound_is_refused_unread() -> None:
    with pytest.raises(EvidenceTooLarge):
        parse_claims(octets(zlib.compress(bytes(MAX_CLAIMS_BYTES + 1))))


def test_a_certificate_is_not_issued_for_another_keys_subject() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(ValueError, match="another key"):
        issue_certificate(other, CLAIMS, HONEST.subject, serial=1)
