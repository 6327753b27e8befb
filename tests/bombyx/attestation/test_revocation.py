"""What NVIDIA says about revoked devices: good, revoked, unknown, and each answer that is none."""

import base64
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from bombyx import canonical
from bombyx.attestation import raw_nvidia
from bombyx.attestation.checklist import Finding, Verdict, judge
from bombyx.attestation.evidence import Evidence
from bombyx.attestation.factors import Factor
from bombyx.attestation.nvidia.device import MAX_CHAIN_BYTES, verify_device
from bombyx.attestation.nvidia.reference import Reference
from bombyx.attestation.nvidia.revocation import (
    MAX_ANSWERS,
    MAX_STATUS_BYTES,
    STATUS_SECONDS,
    check_standing,
)
from bombyx.attestation.nvidia.spdm import parse_report
from bombyx.attestation.nvidia.verify import NvidiaWord, verify_nvidia
from bombyx.attestation.platform_rules import NvidiaPolicy
from bombyx.attestation.raw_nvidia import MAX_FILE_BYTES, read_word
from bombyx.attestation.steps import Result
from bombyx.attestation.vendor import NvidiaReference, NvidiaStatus, VendorFile, vendor_item
from bombyx.attestation.verify import Examination
from bombyx.attestation.wanted import wanted_documents, wanted_of_device
from bombyx.errors import EvidenceRefused
from tests.bombyx.attestation import gpus
from tests.bombyx.attestation.gpus import NOW, ROOT, Gpu
from tests.bombyx.attestation.ocsp_answers import (
    GOOD,
    REVOKED,
    UNKNOWN,
    Said,
    responder,
    signing_key,
)
from tests.bombyx.attestation.tee import code
from tests.bombyx.attestation.test_machines import GPU as SHOWN
from tests.bombyx.attestation.test_machines import Worker
from tests.bombyx.attestation.test_wanted import under

GPU, SECOND = Gpu(), Gpu(name="two")
REQUIRED = NvidiaPolicy(require_revocation=True)


def examine(*answers: bytes, shown: tuple[Gpu, ...] = (GPU,), **more: Any) -> Verdict:
    given = {"policy": NvidiaPolicy(), "now": NOW, **more}
    word = NvidiaWord(answers=answers)
    evidence = [one.evidence() for one in shown]
    return judge(
        lambda checklist: verify_nvidia(
            evidence, checklist=checklist, root=ROOT, word=word, **given
        )
    )


def finding(verdict: Verdict) -> Finding:
    return next(one for one in verdict.findings if one.name is Factor.NVIDIA_NOT_REVOKED)


@pytest.mark.spec("17.6-c")
def test_a_device_that_nvidia_calls_good_passes() -> None:
    found = finding(examine(Said().der(), policy=REQUIRED))
    assert found.result is Result.PASS
    assert "1 of 1 certificates good" in found.detail


@pytest.mark.spec("17.6-c")
def test_what_is_not_at_hand_never_passes() -> None:
    assert finding(examine()).result is Result.UNKNOWN
    assert code(examine(policy=REQUIRED)) == "revocation_unknown"
    others = Said(gpu=SECOND, about=gpus.certificate("x", "OURS", gpus.key("x"), gpus.key("root")))
    elsewhere = replace(others, issuer=GPU.chain()[1])
    for answer in (elsewhere.der(), Said(status=UNKNOWN).der()):
        found = finding(examine(answer))
        assert (found.result, "0 of 1" in found.detail) == (Result.UNKNOWN, True)
        assert code(examine(answer, policy=REQUIRED)) == "revocation_unknown"


@pytest.mark.spec("17.6-c")
def test_an_answer_that_knows_nothing_beside_a_good_one_leaves_it_unknown() -> None:
    found = finding(examine(Said().der(), Said(status=UNKNOWN).der()))
    assert found.result is Result.UNKNOWN


@pytest.mark.spec("17.6-c")
@pytest.mark.parametrize("reason", [None, *list(x509.ReasonFlags)[1:8]])
def test_a_revoked_device_is_refused_and_one_on_hold_too(reason: x509.ReasonFlags | None) -> None:
    verdict = examine(Said(status=REVOKED, reason=reason).der())
    assert code(verdict) == "evidence_revoked"
    assert finding(verdict).result is Result.FAIL
    assert code(examine(Said().der(), Said(status=REVOKED).der())) == "evidence_revoked"


def chained() -> bytes:
    """A device's certificate, by no authority."""
    return GPU.chain()[1]


FOREIGN = responder("FOREIGN", signer="somebody")
FAULTS: list[tuple[str, Said, str]] = [
    ("from later", Said(since=NOW + 1, until=NOW + 60), "collateral_from_future"),
    ("ended", Said(until=NOW), "collateral_expired"),
    ("ended without saying so", Said(since=NOW - STATUS_SECONDS, until=None), "collateral_expired"),
    ("by a responder of another root", Said(signer="FOREIGN", certificate=FOREIGN),
     "collateral_chain"),
    ("by a responder without the purpose",
     Said(signer="PLAIN", certificate=responder("PLAIN", purposes=())), "collateral_chain"),
    ("by a responder for something else",
     Said(signer="SERVER", certificate=responder(
         "SERVER", purposes=(ExtendedKeyUsageOID.SERVER_AUTH,))), "collateral_chain"),
    ("by a responder that ended",
     Said(signer="OLD", certificate=responder("OLD", ends=NOW - 1)), "collateral_expired"),
    ("by a responder that is not shown", Said(shown=False), "collateral_chain"),
    ("with something critical", Said(critical=True), "collateral_malformed"),
]  # fmt: skip


@pytest.mark.spec("17.6-c")
@pytest.mark.parametrize(
    ("said", "refused"), [one[1:] for one in FAULTS], ids=[one[0] for one in FAULTS]
)
def test_an_answer_that_is_not_nvidias_or_not_of_now_is_refused(said: Said, refused: str) -> None:
    verdict = examine(said.der())
    assert code(verdict) == refused
    assert finding(verdict).result is Result.FAIL


@pytest.mark.spec("17.6-c")
def test_an_answer_must_be_signed_by_the_key_that_it_names() -> None:
    der = Said().der()
    signature = ocsp.load_der_ocsp_response(der).signature
    other = signature[:-1] + bytes((signature[-1] ^ 1,))
    assert code(examine(der.replace(signature, other))) == "collateral_altered"


@pytest.mark.parametrize("by_issuer", [False, True])
@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize(
    "digest", [hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]
)
def test_an_answer_may_name_certificate_and_responder_in_each_standard_way(
    digest: hashes.HashAlgorithm, *, by_name: bool, by_issuer: bool
) -> None:
    said = Said(digest=digest, by_name=by_name, by_issuer=by_issuer)
    assert finding(examine(said.der())).result is Result.PASS


def test_an_answer_without_its_next_one_is_good_for_an_hour() -> None:
    said = Said(since=NOW - STATUS_SECONDS + 1, until=None)
    assert finding(examine(said.der())).result is Result.PASS


UNSUCCESSFUL = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
MALFORMED = [b"", b"0", b"\x30\x03\x0a\x01\x00", UNSUCCESSFUL.public_bytes(Encoding.DER),
             bytes(MAX_STATUS_BYTES + 1)]  # fmt: skip


@pytest.mark.parametrize("data", MALFORMED)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    assert code(examine(data)) == "collateral_malformed"


def test_more_answers_than_devices_have_certificates_are_refused() -> None:
    assert code(examine(*[Said().der()] * (MAX_ANSWERS + 1))) == "collateral_malformed"


@pytest.mark.spec("17.6-c")
def test_no_byte_of_an_answer_can_turn_revoked_into_good() -> None:
    revoked = Said(status=REVOKED, reason=x509.ReasonFlags.certificate_hold).der()
    for at in range(len(revoked)):
        changed = bytearray(revoked)
        changed[at] ^= 1
        assert finding(examine(bytes(changed))).result is not Result.PASS
    for cut in range(0, len(revoked), 7):
        assert code(examine(revoked[:cut])) == "collateral_malformed"


def test_every_device_needs_its_own_answer() -> None:
    # The test's devices share a number: what differs is whom the answers are about.
    chains = [verify_device(one.evidence(), root=ROOT, now=NOW).chain for one in (GPU, SECOND)]
    assert check_standing(chains, [], now=NOW).asked == 2
    standing = check_standing(chains, [Said().der()], now=NOW)
    assert (standing.asked, standing.until) == (2, NOW + 3600)


def test_a_responder_of_another_curve_signs_in_its_own_way() -> None:
    small = responder("SMALL", curve="P-256")
    about = x509.load_der_x509_certificate(chained())
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=about,
            issuer=x509.load_der_x509_certificate(ROOT),
            algorithm=hashes.SHA384(),
            cert_status=GOOD,
            this_update=about.not_valid_before_utc,
            next_update=about.not_valid_after_utc,
            revocation_time=None,
            revocation_reason=None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, small)
        .certificates([small])
    )
    signing = signing_key("SMALL", "P-256")
    right = builder.sign(signing, hashes.SHA256()).public_bytes(Encoding.DER)
    assert finding(examine(right)).result is Result.PASS
    wrong = builder.sign(signing, hashes.SHA384()).public_bytes(Encoding.DER)
    assert code(examine(wrong)) == "collateral_altered"


def status_of(evidence: Evidence) -> str:
    (name,) = [one for one in wanted_documents(evidence) if one.startswith("nvidia/ocsp/")]
    return name


def beside(said: Said, *, strict: bool = True) -> Examination:
    worker = Worker(gpus=(SHOWN,), rules={"nvidia": {"require_revocation": strict}})
    document = NvidiaStatus(response=base64.b64encode(said.der()).decode())
    return under({status_of(worker.evidence()): document}, worker)


@pytest.mark.spec("17.6-c", "17.10-d")
def test_a_worker_is_held_to_the_answer_beside_it_and_no_longer_than_it_is_good() -> None:
    from tests.bombyx.attestation.world import NOW as THEN  # noqa: PLC0415

    said = Said(since=THEN - 60, until=THEN + 60)
    passed = beside(said)
    assert passed.refusal is None
    assert passed.conclusion.expires_at == THEN + 60
    revoked = beside(replace(said, status=REVOKED), strict=False)
    assert revoked.refusal is not None
    assert revoked.refusal.code == "evidence_revoked"


ANSWER = Said().der()


def collateral_file(*names: str) -> bytes:
    """A file as gateways export them, with the same answer under each name."""
    document = canonical.encode(NvidiaStatus(response=base64.b64encode(ANSWER).decode()))
    items = [vendor_item(name, document, fetched_at=1, next_update=2) for name in sorted(names)]
    return canonical.encode(VendorFile(v="bombyx-collateral/1", items=items))


def test_of_a_file_of_collateral_only_the_devices_own_documents_count() -> None:
    evidence = GPU.evidence()
    (own,) = [one for one in wanted_of_device(evidence.report, evidence.chain) if "/ocsp/" in one]
    others = [f"nvidia/ocsp/{'aa' * 48}/{'bb' * 48}/{number:04x}" for number in range(1, 200)]
    word = read_word([collateral_file(own, *others)], [evidence], no_reference)
    assert word == NvidiaWord(references=[], answers=[ANSWER])
    assert read_word([collateral_file(*others)], [evidence], no_reference) == SILENT
    unreadable = replace(evidence, chain=b"?")
    assert read_word([collateral_file(own)], [unreadable], no_reference) == SILENT
    long = replace(evidence, chain=bytes(MAX_CHAIN_BYTES + 1))
    assert read_word([collateral_file(own)], [long], no_reference) == SILENT


SILENT = NvidiaWord(references=[], answers=[])


def no_reference(data: bytes) -> Reference:
    raise AssertionError(data)


@pytest.mark.parametrize(
    ("data", "refused"),
    [
        (b"{}", "collateral_malformed"),
        (b"no file", "collateral_malformed"),
        (b"{" + bytes(MAX_FILE_BYTES), "evidence_too_large"),
    ],
)
def test_a_file_that_is_no_word_of_nvidias_is_refused(data: bytes, refused: str) -> None:
    with pytest.raises(EvidenceRefused) as caught:
        read_word([data], [GPU.evidence()], no_reference)
    assert caught.value.code == refused


def test_a_file_of_more_documents_than_can_be_read_in_time_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(raw_nvidia, "MAX_DOCUMENTS", 1)
    names = [f"nvidia/ocsp/{'aa' * 48}/{'bb' * 48}/{number:02x}" for number in (1, 2)]
    with pytest.raises(EvidenceRefused, match="more than 1 documents"):
        read_word([collateral_file(*names)], [GPU.evidence()], no_reference)


def test_an_answer_in_a_file_that_is_no_base64_is_refused() -> None:
    evidence = GPU.evidence()
    (own,) = [one for one in wanted_of_device(evidence.report, evidence.chain) if "/ocsp/" in one]
    document = canonical.encode(NvidiaStatus(response="AAAAA"))
    item = vendor_item(own, document, fetched_at=1, next_update=2)
    data = canonical.encode(VendorFile(v="bombyx-collateral/1", items=[item]))
    with pytest.raises(EvidenceRefused, match="no base64"):
        read_word([data], [evidence], no_reference)
    worker = Worker(gpus=(SHOWN,))
    wrong = {status_of(worker.evidence()): NvidiaStatus(response="AAAAA")}
    refusal = under(wrong, worker).refusal
    assert refusal is not None
    assert refusal.code == "collateral_malformed"


def test_a_file_may_hold_the_references_too() -> None:
    evidence = GPU.evidence()
    name = f"nvidia/rim/NV_GPU_DRIVER_GH100_{parse_report(evidence.report).driver_version}"
    document = canonical.encode(NvidiaReference(rim="<rim/>"))
    item = vendor_item(name, document, fetched_at=1, next_update=2)
    data = canonical.encode(VendorFile(v="bombyx-collateral/1", items=[item]))
    read: list[bytes] = []

    def note(reference: bytes) -> Reference:
        read.append(reference)
        return Reference("1", {}, NOW)

    word = read_word([data, b"\n<rim/>", ANSWER, b"<rim/>", ANSWER], [evidence], note)
    assert read == [b"<rim/>", b"\n<rim/>"]
    assert (len(word.references), word.answers) == (2, [ANSWER])


def test_nobody_is_asked_about_a_certificate_without_a_number() -> None:
    own, root = gpus.key("own one"), gpus.key("root")
    der = gpus.certificate(GPU.chip, "OURS", own, root)
    nameless = der.replace(b"\x02\x01\x05", b"\x02\x01\x00", 1)
    evidence = GPU.evidence(chain=[GPU.chain()[0], nameless, ROOT])
    assert all("/ocsp/" not in one for one in wanted_of_device(evidence.report, evidence.chain))


def test_a_responder_whose_key_cannot_be_read_signed_nothing() -> None:
    def point(name: str) -> bytes:
        public = gpus.key(name).public_key()
        return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    name = next(one for one in map("R{}".format, range(64)) if point(one)[-1] % 2 == 0)
    der = Said(signer=name, certificate=responder(name)).der()
    odd = der.replace(b"\0" + point(name), b"\1" + point(name))  # a bit short of whole bytes
    assert odd != der
    assert code(examine(odd)) == "collateral_chain"
