"""TDX quotes of both versions, each with one thing wrong, under a root of our own."""

import dataclasses
import struct
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from bombyx.attestation.checklist import Verdict, judge
from bombyx.attestation.collateral import Collateral
from bombyx.attestation.dcap import Claims
from bombyx.attestation.factors import FACTOR_OF, STEP_OF, Factor
from bombyx.attestation.pem import to_pem
from bombyx.attestation.platform_rules import TdxPolicy
from bombyx.attestation.steps import Result, StepName
from bombyx.attestation.tcb_levels import check_levels
from bombyx.attestation.tdx.verify import TdxEvidence, TdxProof, verify_tdx
from bombyx.attestation.tdx_quote import parse_quote
from bombyx.errors import EvidenceRefused
from tests.bombyx.attestation.tee import code
from tests.bombyx.attestation.world import COLLATERAL, DAY, IMAGE, NOW, PLATFORM, ROOT, body
from tests.vectors.evidence_cases import enclave, tcb
from worker.attest.simulated_certificates import sign_raw
from worker.attest.simulated_collateral import VendorView, mint_collateral
from worker.attest.simulated_platform import TEE_TCB_SVN, SimulatedPlatform
from worker.attest.simulated_root import SimulatedRoot

QUOTE = PLATFORM.quote(body())
STRANGER = SimulatedPlatform.create(SimulatedRoot.create(now=NOW), now=NOW)
FIRST_DAY = NOW - DAY
"""The date of every level that the vendor of these machines knows."""


def examine(
    quote: bytes = QUOTE,
    collateral: Collateral | None = COLLATERAL,
    *,
    rules: TdxPolicy | None = None,
    report_data: bytes | None = None,
    found: list[TdxProof] | None = None,
) -> Verdict:
    def argue(checklist: Any) -> None:
        proof = verify_tdx(
            TdxEvidence(quote, collateral),
            policy=rules or TdxPolicy(),
            now=NOW,
            report_data=report_data,
            checklist=checklist,
            root=ROOT.der,
        )
        if found is not None:
            found.append(proof)

    return judge(argue)


def version_5(kind: int = 3, size: int | None = None, service: bytes = bytes(48)) -> bytes:
    """The honest machine's quote in the fifth version's form."""
    header = struct.pack("<H", 5) + QUOTE[2:48]
    extra = TEE_TCB_SVN + service if kind == 3 else b""
    report = QUOTE[48:632] + extra
    said = header + struct.pack("<HI", kind, len(report) if size is None else size) + report
    tail = QUOTE[632:636] + sign_raw(PLATFORM.attestation_key, said) + QUOTE[700:]
    return said + tail


@pytest.mark.spec("17.4-a")
@pytest.mark.parametrize("kind", [2, 3])
def test_both_versions_pass(kind: int) -> None:
    found: list[TdxProof] = []
    assert code(examine(found=found)) == ""
    verdict = examine(version_5(kind), found=found)
    assert (code(verdict), verdict.claims["version"]) == ("", 5)
    first, second = (proof.quote for proof in found)
    assert first.mr_td == second.mr_td == IMAGE
    assert len(second.mr_service_td) == (48 if kind == 3 else 0)


def view(**changes: Any) -> Collateral:
    return mint_collateral(PLATFORM, now=NOW, view=VendorView(**changes))


def accepting(*statuses: str, **more: Any) -> TdxPolicy:
    return TdxPolicy(accepted_tcb=statuses, **more)


def changed(**fields: str) -> Collateral:
    return msgspec.structs.replace(COLLATERAL, **fields)


FOREIGN_CHAIN = to_pem(STRANGER.chain[1].public_bytes(Encoding.DER)).decode()
OLD = view(status="OutOfDate", advisories=("INTEL-SA-1",))
FAULTS: list[tuple[str, bytes, Collateral | None, TdxPolicy, str]] = [
    ("another body", version_5(4), COLLATERAL, TdxPolicy(), "evidence_malformed"),
    ("another body size", version_5(size=584), COLLATERAL, TdxPolicy(), "evidence_malformed"),
    ("a service TD", version_5(service=b"s" * 48), COLLATERAL, TdxPolicy(),
     "evidence_attributes"),
    ("bytes behind", QUOTE + b"\0\1", COLLATERAL, TdxPolicy(), "evidence_malformed"),
    ("debug", PLATFORM.quote(body(td_attributes=b"\1\0\0\x10\0\0\0\0")), COLLATERAL, TdxPolicy(),
     "evidence_debug"),
    ("no protection from its host", PLATFORM.quote(body(td_attributes=bytes(8))), COLLATERAL,
     TdxPolicy(), "evidence_attributes"),
    ("counters", PLATFORM.quote(body(td_attributes=b"\0\0\0\x10\0\0\0\x80")), COLLATERAL,
     TdxPolicy(), "evidence_attributes"),
    ("tracing", PLATFORM.quote(body(xfam=b"\xe7\x03\6\0\0\0\0\0")), COLLATERAL, TdxPolicy(),
     "evidence_attributes"),
    ("no collateral", QUOTE, None, TdxPolicy(), "collateral_missing"),
    ("another root", STRANGER.quote(body()), COLLATERAL, TdxPolicy(), "evidence_root"),
    ("a collateral's chain of garbage", QUOTE, changed(pck_crl_issuer_chain="x"), TdxPolicy(),
     "collateral_malformed"),
    ("a collateral of another root", QUOTE, changed(qe_identity_issuer_chain=FOREIGN_CHAIN),
     TdxPolicy(), "collateral_chain"),
    ("a list's issuer that nobody vouches for", QUOTE,
     changed(pck_crl_issuer_chain=FOREIGN_CHAIN + to_pem(ROOT.der).decode()), TdxPolicy(),
     "collateral_chain"),
    ("old", QUOTE, OLD, TdxPolicy(), "tcb_refused"),
    ("old beyond grace", QUOTE, OLD, accepting("OutOfDate", grace_seconds=DAY - 1),
     "tcb_refused"),
    ("an old enclave beyond grace", QUOTE, view(qe_status="OutOfDate"), accepting("OutOfDate"),
     "tcb_refused"),
    ("an old module beyond grace", QUOTE, view(module_status="OutOfDate"),
     accepting("OutOfDate"), "tcb_refused"),
    ("a rejected advisory", QUOTE, view(advisories=("INTEL-SA-1",)),
     TdxPolicy(rejected_advisories=("INTEL-SA-1",)), "tcb_refused"),
    ("an old evaluation", QUOTE, COLLATERAL, TdxPolicy(min_evaluation=19), "tcb_refused"),
    ("revoked", QUOTE, view(status="Revoked"), TdxPolicy(), "evidence_revoked"),
    ("a revoked certificate", QUOTE, view(platform_revoked=True), TdxPolicy(),
     "evidence_revoked"),
    ("another image", QUOTE, COLLATERAL, TdxPolicy(mr_td=()), "measurement_refused"),
    ("another whole image", QUOTE, COLLATERAL, TdxPolicy(images=("00" * 32,)),
     "measurement_refused"),
    ("another module", QUOTE, COLLATERAL, TdxPolicy(mr_seam=()), "measurement_refused"),
    ("other hardware", QUOTE, COLLATERAL, TdxPolicy(rtmr0=()), "measurement_refused"),
    ("another kernel", QUOTE, COLLATERAL, TdxPolicy(rtmr2=("11" * 48,)), "measurement_refused"),
    ("another application", QUOTE, COLLATERAL, TdxPolicy(rtmr3=()), "measurement_refused"),
    ("another configuration", QUOTE, COLLATERAL, TdxPolicy(mr_config=()), "measurement_refused"),
    ("another machine", QUOTE, COLLATERAL, TdxPolicy(platforms=()), "platform_not_listed"),
]  # fmt: skip


@pytest.mark.spec("17.4-a")
@pytest.mark.parametrize(
    ("quote", "collateral", "rules", "refused"),
    [fault[1:] for fault in FAULTS],
    ids=[fault[0] for fault in FAULTS],
)
def test_each_fault_has_its_code(
    quote: bytes, collateral: Collateral | None, rules: TdxPolicy, refused: str
) -> None:
    assert code(examine(quote, collateral, rules=rules)) == refused


@pytest.mark.spec("17.4-b")
def test_what_the_library_lets_pass_is_refused() -> None:
    assert code(examine(collateral=tcb(pceId="0001").collateral)) == "collateral_mismatch"
    for status in ("ConfigurationNeeded", "OutOfDateConfigurationNeeded"):
        level = {"tcb": {"isvsvn": 4}, "tcbDate": "2027-01-14T08:00:00Z", "tcbStatus": status}
        assert code(examine(collateral=enclave(tcbLevels=[level]).collateral)) == "tcb_refused"
    with pytest.raises(EvidenceRefused) as caught:
        check_levels({}, "{}")
    assert caught.value.code == "collateral_malformed"


@pytest.mark.parametrize(
    "collateral", [OLD, view(qe_status="OutOfDate"), view(module_status="OutOfDate")]
)
def test_an_old_level_passes_for_as_long_as_the_policys_grace(collateral: Collateral) -> None:
    rules = accepting("OutOfDate", grace_seconds=DAY)
    found: list[TdxProof] = []
    verdict = examine(collateral=collateral, rules=rules, found=found)
    assert code(verdict) == ""
    assert found[0].claims.out_of_date_since == FIRST_DAY


def test_a_module_of_the_first_series_has_no_level_of_its_own() -> None:
    quote = PLATFORM.quote(body(tee_tcb_svn=bytes((7, 0, 3)).ljust(16, b"\0")))
    assert code(examine(quote)) == ""


def test_a_listed_machine_passes_by_either_of_its_ids() -> None:
    found: list[TdxProof] = []
    examine(found=found)
    claims: Claims = found[0].claims
    quote = found[0].quote
    for name in (claims.ppid, claims.instance):
        zeros = ("00" * 48,)
        rules = TdxPolicy(
            mr_td=(IMAGE.hex(),),
            images=(examine().claims["image_hash"],),
            mr_seam=zeros,
            rtmr0=zeros,
            rtmr1=zeros,
            rtmr2=zeros,
            rtmr3=zeros,
            mr_config=("00" * 144,),
            platforms=(name,),
        )
        verdict = examine(rules=rules, report_data=quote.report_data)
        results = {one.name: one.result for one in verdict.findings}
        assert code(verdict) == ""
        for factor in (
            Factor.TEE_MEASUREMENT,
            Factor.TEE_HARDWARE_CONFIG,
            Factor.TEE_BOOT_CONFIG,
            Factor.COMPOSE_BINDING,
            Factor.CPU_ID_REGISTRY,
            Factor.TEE_REPORTDATA_BINDING,
        ):
            assert results[factor] is Result.PASS


def test_identity_is_what_is_signed() -> None:
    quote = parse_quote(QUOTE)
    assert quote.signed == QUOTE[:632]
    assert quote.attestation_key == QUOTE[700:764]
    assert parse_quote(version_5()).signed == version_5()[: 54 + 648]


def test_every_step_has_a_factor_and_every_factor_that_fails_has_a_step() -> None:
    assert {STEP_OF[factor] for factor in FACTOR_OF.values()} == set(FACTOR_OF)
    never = {
        StepName.KEYSET_FORM,
        StepName.COLLATERAL_PRESENT,
        StepName.MODEL_ALLOWED,
        StepName.SEALING_KEY,
        StepName.PHYSICAL_ATTACK_RESISTANCE,
    }
    assert set(FACTOR_OF) == set(StepName) - never


def test_fields_of_a_body_can_be_told_apart() -> None:
    quote = PLATFORM.quote(dataclasses.replace(body(), tee_tcb_svn=bytes(range(16))))
    assert parse_quote(quote).tee_tcb_svn == bytes(range(16))
    assert parse_quote(quote).mr_seam == bytes(48)
