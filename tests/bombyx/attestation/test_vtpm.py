"""Quotes of virtual TPMs, each with one thing wrong."""

import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bombyx.attestation.checklist import Verdict, judge
from bombyx.attestation.platform_rules import VtpmPolicy
from bombyx.attestation.vtpm.quote import MAX_EVIDENCE_BYTES, TpmEvidence, parse_evidence
from bombyx.attestation.vtpm.verify import verify_vtpm
from tests.bombyx.attestation.tee import code
from tests.bombyx.attestation.tpm import KEY_ID, PCRS, SPKI, Tpm, sized

RULES = VtpmPolicy(keys=(KEY_ID,), pcrs=((4, (PCRS[4].hex(),)), (11, (PCRS[11].hex(),))))


def examine(
    shown: Tpm | bytes, rules: VtpmPolicy = RULES, nonce: bytes | None = bytes(32)
) -> Verdict:
    raw = shown.evidence() if isinstance(shown, Tpm) else shown
    return judge(lambda checklist: verify_vtpm(raw, policy=rules, nonce=nonce, checklist=checklist))


def changed(**parts: Any) -> bytes:
    one = parse_evidence(Tpm().evidence())
    fields = {"quote": one.quote, "signature": one.signature, "key": one.key, "values": one.values}
    return TpmEvidence(**{**fields, **parts}).encode()


@pytest.mark.spec("17.7-a")
def test_an_honest_quote_passes_and_says_what_it_holds() -> None:
    verdict = examine(Tpm())
    assert code(verdict) == ""
    assert verdict.claims["key_id"] == KEY_ID
    assert verdict.claims["pcrs"] == {str(number): value.hex() for number, value in PCRS.items()}
    assert code(examine(Tpm(nonce=b"n"), nonce=None)) == ""


OTHER = rsa.generate_private_key(65537, 2048).public_key()
RSA_SPKI = OTHER.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
EVERY_KEY = VtpmPolicy(
    keys=(KEY_ID, *(hashlib.sha256(one).hexdigest() for one in (RSA_SPKI, b"x"))),
    pcrs=RULES.pcrs,
)
HONEST = Tpm().evidence()
FAULTS: list[tuple[str, Tpm | bytes, VtpmPolicy, str]] = [
    ("another nonce", Tpm(nonce=b"n" * 32), RULES, "evidence_binding"),
    ("no key pinned", Tpm(), VtpmPolicy(pcrs=RULES.pcrs), "evidence_root"),
    ("no register named", Tpm(), VtpmPolicy(keys=RULES.keys), "measurement_refused"),
    ("a register differs", Tpm(pcrs={**PCRS, 4: bytes(32)}), RULES, "measurement_refused"),
    ("a register is not quoted", Tpm(pcrs={4: PCRS[4]}), RULES, "measurement_refused"),
    ("another value shown", Tpm(shown={**PCRS, 4: bytes(32)}), RULES, "evidence_forged"),
    ("fewer values shown", Tpm(shown={4: PCRS[4]}), RULES, "evidence_forged"),
    ("a changed quote", changed(quote=Tpm(nonce=b"x").quote()), RULES, "evidence_forged"),
    ("another signature", changed(signature=b"x"), RULES, "evidence_forged"),
    ("an RSA key", changed(key=RSA_SPKI), EVERY_KEY, "evidence_forged"),
    ("a key of garbage", changed(key=b"x"), EVERY_KEY, "evidence_forged"),
    ("another magic", Tpm(magic=b"TCG!"), RULES, "evidence_malformed"),
    ("another kind", Tpm(kind=b"\x80\x17"), RULES, "evidence_malformed"),
    ("two banks", Tpm(selections=2), RULES, "evidence_malformed"),
    ("another bank", Tpm(bank=4), RULES, "evidence_malformed"),
    ("another bitmap", Tpm(bitmap=4), RULES, "evidence_malformed"),
    ("a short digest", Tpm(digest=b"x"), RULES, "evidence_malformed"),
    ("bytes behind the quote", Tpm(behind=b"x"), RULES, "evidence_malformed"),
    ("bytes behind", HONEST + b"\0", RULES, "evidence_malformed"),
    ("cut", HONEST[:-1], RULES, "evidence_malformed"),
    ("cut in a length", HONEST[:1], RULES, "evidence_malformed"),
    ("values of another size", sized(b"") * 3 + sized(b"x"), RULES, "evidence_malformed"),
    ("an empty quote", sized(b"") * 4, RULES, "evidence_malformed"),
    ("too long", bytes(MAX_EVIDENCE_BYTES + 1), RULES, "evidence_too_large"),
]  # fmt: skip


@pytest.mark.spec("17.7-a")
@pytest.mark.parametrize(
    ("shown", "rules", "refused"),
    [fault[1:] for fault in FAULTS],
    ids=[fault[0] for fault in FAULTS],
)
def test_each_fault_has_its_code(shown: Tpm | bytes, rules: VtpmPolicy, refused: str) -> None:
    assert code(examine(shown, rules)) == refused


def test_no_byte_of_evidence_can_change() -> None:
    accepted = []
    for at in range(len(HONEST)):
        raw = bytearray(HONEST)
        raw[at] ^= 1 << at % 8
        if examine(bytes(raw)).ok:
            accepted.append(at)
    assert accepted == []
    assert SPKI in HONEST
