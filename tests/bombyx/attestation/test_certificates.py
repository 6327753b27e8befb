"""Certificates and their encoding, read in one spelling only."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from bombyx.attestation import der
from bombyx.attestation.certificates import MAX_CERTIFICATE_BYTES, parse_certificate
from bombyx.attestation.chains import Blame, ec_key, verify_chain
from bombyx.attestation.factors import Factor
from bombyx.errors import EvidenceRefused
from tests.bombyx.attestation import amd
from tests.bombyx.attestation.gpus import NOW, ROOT, certificate, key

LEAF = certificate("LEAF", "OURS", key("leaf"), key("root"), ca=False)
BLAME = Blame(Factor.TEE_CERT_CHAIN, "the chain")


def sequence(*parts: bytes, tag: int = der.SEQUENCE) -> bytes:
    body = b"".join(parts)
    size = len(body)
    long = size.to_bytes(2 if size > 0xFF else 1, "big")
    length = bytes((size,)) if size < 0x80 else bytes((0x80 | len(long),)) + long
    return bytes((tag,)) + length + body


def parts(raw: bytes) -> list[bytes]:
    return [item[2] for item in der.children(raw, der.SEQUENCE)]


TBS, ALGORITHM, SIGNATURE = parts(LEAF)
FIELDS = parts(TBS)


def with_field(at: int, value: bytes) -> bytes:
    return sequence(sequence(*FIELDS[:at], value, *FIELDS[at + 1 :]), ALGORITHM, SIGNATURE)


EMPTY = sequence()
FAULTS = {
    "empty": b"",
    "a byte": b"\x30",
    "long": bytes(MAX_CERTIFICATE_BYTES + 1),
    "cut": LEAF[:-1],
    "a byte behind": LEAF + b"\0",
    "a length in a longer form": b"\x30\x83\x00" + LEAF[2:4] + LEAF[4:],
    "a short length in the long form": sequence(TBS, ALGORITHM, b"\x03\x81\x01\x00"),
    "an endless length": b"\x30\x80" + LEAF[4:],
    "a length of four bytes": b"\x30\x84\x00\x00" + LEAF[2:],
    "another kind": b"\x31" + LEAF[1:],
    "two parts": sequence(TBS, ALGORITHM),
    "seven fields": sequence(sequence(*FIELDS[:7]), ALGORITHM, SIGNATURE),
    "version 1": with_field(0, bytes.fromhex("a003020100")),
    "no extensions": with_field(7, EMPTY),
    "another algorithm within": with_field(2, EMPTY),
    "an algorithm without a name": sequence(
        sequence(*FIELDS[:2], EMPTY, *FIELDS[3:]), EMPTY, SIGNATURE
    ),
    "an algorithm of another kind": sequence(
        sequence(*FIELDS[:2], sequence(b"\2\1\1"), *FIELDS[3:]), sequence(b"\2\1\1"), SIGNATURE
    ),
    "a name without a common name": with_field(5, EMPTY),
    "a date of another kind": with_field(4, sequence(b"\2\1\1", b"\2\1\1")),
    "a date of garbage": with_field(4, sequence(b"\x17\1x", b"\x17\1x")),
    "an extension of garbage": with_field(7, sequence(sequence(EMPTY), tag=0xA3)),
    "an extension twice": with_field(
        7,
        sequence(sequence(*[sequence(b"\6\1\x2a", b"\4\0")] * 2), tag=0xA3),
    ),
    "no bit string": sequence(TBS, ALGORITHM, b"\4\2\0\0"),
    "bits of a part of a byte": sequence(TBS, ALGORITHM, b"\3\2\1\0"),
}


def test_an_honest_certificate_is_read() -> None:
    found = parse_certificate(LEAF)
    assert (found.name, found.issuer_name, found.may_issue) == ("LEAF", "OURS", False)
    assert parse_certificate(ROOT).may_issue
    assert found.raw == LEAF


@pytest.mark.parametrize("raw", FAULTS.values(), ids=FAULTS)
def test_any_other_form_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"^.+$"):
        parse_certificate(raw)


@pytest.mark.parametrize(
    "raw", [b"", b"\2\1", b"\2\0", b"\2\2\0\1", b"\2\1\x80", b"\2\2\1\0", b"\4\1\1", b"\2\1\1\0"]
)
def test_a_small_integer_has_one_spelling(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"^.+$"):
        der.small_integer(raw)
    assert [der.small_integer(one) for one in (b"\2\1\0", b"\2\1\x7f", b"\2\2\0\xff")] == [
        0,
        127,
        255,
    ]


@pytest.mark.parametrize("contents", [b"", b"\x80", b"\x2a\x86"])
def test_an_object_identifier_ends(contents: bytes) -> None:
    with pytest.raises(ValueError, match="object identifier"):
        der.oid_text((der.OID, contents, contents))
    with pytest.raises(ValueError, match="object identifier"):
        der.oid_text((der.OCTETS, b"\x2a", b""))
    assert der.oid_text((der.OID, bytes.fromhex("550406"), b"")) == "2.5.4.6"
    assert der.oid_text((der.OID, bytes.fromhex("8837"), b"")) == "2.999"


def test_a_chain_is_checked_from_the_root_down() -> None:
    assert verify_chain([LEAF, ROOT], ROOT, now=NOW, blame=BLAME)[0].name == "LEAF"
    below = certificate("BELOW", "LEAF", key("below"), key("leaf"), ca=False)
    other = certificate("LEAF", "OURS", key("leaf"), key("other"), ca=False)
    weak = certificate("LEAF", "OURS", key("leaf"), key("root"), digest=hashes.SHA256())
    proper = certificate("LEAF", "OURS", key("leaf"), key("root"))
    renamed = certificate("BELOW", "LIEF", key("below"), key("leaf"), ca=False)
    assert verify_chain([below, proper, ROOT], ROOT, now=NOW, blame=BLAME)
    for chain in (
        [below, LEAF, ROOT],
        [renamed, proper, ROOT],
        [other, ROOT],
        [weak, ROOT],
        [b"", ROOT],
        [],
    ):
        with pytest.raises(EvidenceRefused):
            verify_chain(chain, ROOT, now=NOW, blame=BLAME)


def test_a_certificate_says_how_it_is_signed() -> None:
    sha256 = parts(certificate("X", "OURS", key("x"), key("root"), digest=hashes.SHA256()))[1]
    tbs = sequence(*FIELDS[:2], sha256, *FIELDS[3:])
    signature = key("root").sign(tbs, ec.ECDSA(hashes.SHA384()))
    wrong = sequence(tbs, sha256, sequence(b"\0", signature, tag=der.BITS))
    with pytest.raises(EvidenceRefused, match="another way"):
        verify_chain([wrong, ROOT], ROOT, now=NOW, blame=BLAME)


def test_a_key_is_of_one_of_two_curves() -> None:
    rsa = parse_certificate(amd.OURS["milan"].ark)
    with pytest.raises(EvidenceRefused, match="P-256"):
        ec_key(rsa, BLAME)
    with pytest.raises(EvidenceRefused, match="cannot be read"):
        ec_key(parse_certificate(with_field(6, EMPTY)), BLAME)
