import copy
import dataclasses
from typing import Any

import msgspec
import pytest

from bombyx import canonical
from bombyx.attestation.binding import report_data
from bombyx.attestation.evidence import Evidence, GpuEvidence
from bombyx.attestation.keyset import HpkeKey, Keyset, keyset_digest
from bombyx.attestation.policy import parse_policy, policy_hash
from bombyx.attestation.steps import SIMULATED_UNKNOWN, Result, StepName
from bombyx.attestation.verify import Conclusion, VerifiedWorker, verify_worker
from bombyx.errors import ModelNotFound, WorkerRefused
from tests.bombyx.attestation import genuine
from tests.bombyx.attestation.world import (
    COLLATERAL,
    DAY,
    HONEST,
    KEYSET,
    MODEL,
    NOW,
    PLATFORM,
    POLICY,
    ROOT,
    SEALING_KEY,
    Offer,
    body,
    evidence_of,
    examine_offer,
    failed,
    offer,
    pk_text,
    policy_table,
    simulated_rules,
    unknown,
)
from worker.attest.simulated_collateral import VendorView, mint_collateral
from worker.attest.simulated_platform import SimulatedPlatform
from worker.attest.simulated_root import SimulatedRoot, root_sha256

FOREIGN_ROOT = SimulatedRoot.create(now=NOW)
FOREIGN = SimulatedPlatform.create(FOREIGN_ROOT, now=NOW)
SIBLING = SimulatedPlatform.create(ROOT, now=NOW)
GPU = GpuEvidence(arch="HOPPER", certificate="Yw==", report="cg==")


def keyset(**changes: Any) -> Keyset:
    return msgspec.structs.replace(KEYSET, **changes)


def evidence(**changes: Any) -> Offer:
    return dataclasses.replace(HONEST, evidence=msgspec.structs.replace(HONEST.evidence, **changes))


def view(**changes: Any) -> Offer:
    return offer(view=VendorView(**changes))


def with_key(pk: str) -> Offer:
    return offer(keyset(hpke=[msgspec.structs.replace(KEYSET.hpke[0], pk=pk)]))


def quote_under(collateral: Any, platform: SimulatedPlatform = PLATFORM) -> Offer:
    return offer(platform=platform, collateral=collateral)


def verify(it: Offer, **policy: Any) -> VerifiedWorker:
    rules = parse_policy(policy_table(**policy))
    return verify_worker(it.keyset, it.evidence, it.collateral, policy=rules, now=NOW)


@pytest.mark.spec("17.1-a")
def test_an_honest_worker_passes_all_but_the_unknown_steps_of_the_simulated_platform() -> None:
    examination = examine_offer(HONEST)
    assert [step.name for step in examination.steps] == list(StepName)
    assert failed(examination) == []
    assert unknown(examination) == SIMULATED_UNKNOWN
    assert examination.refusal is None


@pytest.mark.spec("1.7-a")
def test_a_verified_worker_is_what_its_documents_say() -> None:
    worker = verify(HONEST)
    assert worker.keyset is HONEST.keyset
    assert worker.worker_id == keyset_digest(KEYSET)
    assert worker.worker_id_bytes == canonical.digest(KEYSET)
    assert worker.platform == "simulated"
    assert len(bytes.fromhex(worker.platform_id)) == 16
    assert worker.policy_hash == policy_hash(POLICY)
    assert worker.steps == examine_offer(HONEST).steps
    assert worker.model("smol") == MODEL
    assert worker.hpke_key() == (KEYSET.hpke[0].id, SEALING_KEY)
    assert worker.worker_id[:16] in repr(worker)


@pytest.mark.spec("13.1-c")
def test_a_verified_worker_expires_with_keyset_or_collateral_whichever_is_first() -> None:
    assert verify(HONEST).expires_at == KEYSET.not_after
    ending = mint_collateral(PLATFORM, now=NOW - 29 * DAY + 60)
    assert verify(quote_under(ending)).expires_at == NOW + 60


@pytest.mark.spec("17.1-c")
def test_only_verify_worker_makes_a_verified_worker() -> None:
    worker = verify(HONEST)
    nothing = Conclusion(expires_at=NOW, platform_id="", models=(MODEL,), sealing_keys=(b"",))
    with pytest.raises(TypeError, match="only verify_worker"):
        VerifiedWorker(
            keyset=KEYSET,
            worker_id_bytes=bytes(32),
            steps=(),
            policy_hash="",
            conclusion=nothing,
            maker=object(),
        )
    with pytest.raises(ValueError, match="maker"):
        dataclasses.replace(worker, keyset=keyset(boot="ff" * 16))  # type: ignore[call-arg]
    with pytest.raises(dataclasses.FrozenInstanceError):
        worker.keyset = KEYSET  # type: ignore[misc]
    assert copy.copy(worker).worker_id == worker.worker_id


STALE = mint_collateral(PLATFORM, now=NOW - 40 * DAY)
OTHER_KEYSET = keyset(boot="ff" * 16)

FAULTS: list[tuple[str, Offer, StepName]] = [
    ("keyset has expired", offer(keyset(not_after=NOW)), StepName.KEYSET_FORM),
    ("more than 24 hours", offer(keyset(not_after=NOW + DAY + 1)), StepName.KEYSET_FORM),
    ("another platform", offer(keyset(platform="tdx")), StepName.KEYSET_FORM),
    ("another platform", evidence(platform="tdx"), StepName.KEYSET_FORM),
    ("twice", offer(keyset(models=[MODEL, MODEL])), StepName.KEYSET_FORM),
    ("twice", offer(keyset(hpke=KEYSET.hpke * 2)), StepName.KEYSET_FORM),
    ("not a Keyset", offer(keyset(payout="")), StepName.KEYSET_FORM),
    ("not a Keyset", offer(keyset(models=[])), StepName.KEYSET_FORM),
    ("no base64", evidence(quote="????"), StepName.EVIDENCE_FORM),
    ("no base64", evidence(quote="é"), StepName.EVIDENCE_FORM),
    ("empty", evidence(quote=""), StepName.EVIDENCE_FORM),
    ("not canonical", evidence(quote="QR=="), StepName.EVIDENCE_FORM),
    ("not a Evidence", evidence(quote="A" * 40_000), StepName.EVIDENCE_FORM),
    ("missing", dataclasses.replace(HONEST, collateral=None), StepName.COLLATERAL_PRESENT),
    ("other collateral", dataclasses.replace(HONEST, collateral=STALE),
     StepName.COLLATERAL_PRESENT),
    ("other collateral", evidence(collateral=msgspec.UNSET), StepName.COLLATERAL_PRESENT),
    ("not a Collateral", quote_under(msgspec.structs.replace(COLLATERAL, pck_crl="x")),
     StepName.COLLATERAL_PRESENT),
    ("malformed", evidence(quote="AAAA"), StepName.QUOTE_STRUCTURE),
    ("SIMULATED", offer(user_data=bytes(20)), StepName.QUOTE_STRUCTURE),
    ("does not pin", offer(platform=FOREIGN), StepName.CERTIFICATE_CHAIN),
    ("another root", quote_under(COLLATERAL, FOREIGN), StepName.CERTIFICATE_CHAIN),
    ("the collateral's chain",
     quote_under(msgspec.structs.replace(COLLATERAL, tcb_info_issuer_chain="x")),
     StepName.CERTIFICATE_CHAIN),
    ("does not lead", quote_under(mint_collateral(SIBLING, now=NOW)), StepName.CERTIFICATE_CHAIN),
    ("expired", quote_under(STALE), StepName.COLLATERAL_CURRENT),
    ("from later", quote_under(mint_collateral(PLATFORM, now=NOW + 2 * DAY)),
     StepName.COLLATERAL_CURRENT),
    ("another platform's", view(fmspc=b"123456"), StepName.COLLATERAL_CURRENT),
    ("is revoked", view(status="Revoked"), StepName.TCB_NOT_REVOKED),
    ("is revoked", view(qe_status="Revoked"), StepName.TCB_NOT_REVOKED),
    ("is revoked", view(module_status="Revoked"), StepName.TCB_NOT_REVOKED),
    ("certificate of the platform is revoked", view(platform_revoked=True),
     StepName.TCB_NOT_REVOKED),
    ("certificate of the platform is revoked", view(authority_revoked=True),
     StepName.TCB_NOT_REVOKED),
    ("advisories: none", view(qe_status="OutOfDate"), StepName.TCB_STATUS),
    ("is OutOfDate", view(module_status="OutOfDate"), StepName.TCB_STATUS),
    ("INTEL-SA-1, INTEL-SA-2",
     view(status="SWHardeningNeeded", advisories=("INTEL-SA-1", "INTEL-SA-2")),
     StepName.TCB_STATUS),
    ("is ConfigurationNeeded", view(status="ConfigurationNeeded"), StepName.TCB_STATUS),
    ("is ConfigurationAndSW", view(status="ConfigurationAndSWHardeningNeeded"),
     StepName.TCB_STATUS),
    ("is OutOfDateConf", view(status="OutOfDateConfigurationNeeded"), StepName.TCB_STATUS),
    ("older than any", offer(tee_tcb_svn=b"\2\1\1".ljust(16, b"\0")), StepName.TCB_STATUS),
    ("older than any", offer(tee_tcb_svn=b"\2\1\3".ljust(16, b"\0")), StepName.TCB_STATUS),
    ("debugger", offer(td_attributes=b"\1\0\0\x10\0\0\0\0"), StepName.DEBUG_DISABLED),
    ("SEPT_VE", offer(td_attributes=bytes(8)), StepName.DEBUG_DISABLED),
    ("TD attributes", offer(td_attributes=b"\0\0\0\x50\0\0\0\0"), StepName.DEBUG_DISABLED),
    ("TD attributes", offer(td_attributes=b"\0\0\0\x90\0\0\0\0"), StepName.DEBUG_DISABLED),
    ("TD attributes", offer(td_attributes=b"\0\0\0\x10\0\0\0\x80"), StepName.DEBUG_DISABLED),
    ("CPU features", offer(xfam=b"\xe7\x1a\6\0\0\0\0\0"), StepName.DEBUG_DISABLED),
    ("other keys", offer(report_data=bytes(64)), StepName.REPORT_DATA_BINDING),
    ("other keys", dataclasses.replace(HONEST, keyset=OTHER_KEYSET),
     StepName.REPORT_DATA_BINDING),
    ("other keys", evidence(gpus=[GPU]), StepName.REPORT_DATA_BINDING),
    ("image", offer(image=bytes(48)), StepName.MEASUREMENT),
    ("not zero", offer(rtmrs=(b"\1" * 48,) + (bytes(48),) * 3), StepName.MEASUREMENT),
    ("not zero", offer(rtmrs=(bytes(48),) * 3 + (b"\1" * 48,)), StepName.MEASUREMENT),
    ("not zero", offer(mr_config_id=b"\1" * 48), StepName.MEASUREMENT),
    ("weights of smol", offer(keyset(models=[msgspec.structs.replace(MODEL, weights="0" * 64)])),
     StepName.MODEL_ALLOWED),
    ("engine of smol", offer(keyset(models=[msgspec.structs.replace(MODEL, engine="0" * 64)])),
     StepName.MODEL_ALLOWED),
    ("none of its models", offer(keyset(models=[msgspec.structs.replace(MODEL, id="big")])),
     StepName.MODEL_ALLOWED),
    ("not canonical", with_key(KEYSET.hpke[0].pk[:-1] + "_"), StepName.SEALING_KEY),
    ("not usable", with_key(pk_text(SEALING_KEY[:1184] + bytes(32))), StepName.SEALING_KEY),
    ("not usable", with_key(pk_text(b"\xff" * 1184 + SEALING_KEY[1184:])), StepName.SEALING_KEY),
]  # fmt: skip


@pytest.mark.spec("17.1-a", "17.1-b")
@pytest.mark.parametrize(("sentence", "it", "step"), FAULTS)
def test_each_fault_fails_exactly_its_step(sentence: str, it: Offer, step: StepName) -> None:
    examination = examine_offer(it)
    assert [found.name for found in examination.steps] == list(StepName)
    assert failed(examination) == [step]
    assert examination.conclusion.expires_at == 0
    assert examination.conclusion.sealing_keys == ()
    with pytest.raises(WorkerRefused) as refusal:
        verify(it)
    assert refusal.value.message.startswith(f"{step}: ")
    assert sentence in refusal.value.message
    assert refusal.value.steps == examination.steps


def test_every_step_that_can_fail_has_a_fault_in_the_table() -> None:
    silent = {StepName.PLATFORM_IDENTITY, StepName.GPU_BINDING, StepName.PHYSICAL_ATTACK_RESISTANCE}
    elsewhere = {StepName.PLATFORM_ALLOWED, StepName.QUOTE_SIGNATURE, StepName.GPU_EVIDENCE}
    assert {step for _, _, step in FAULTS} == set(StepName) - silent - elsewhere


@pytest.mark.parametrize("at", [10, 60, 640, 710, 780, 1160])
def test_a_quote_changed_under_its_signatures_fails_the_signature(at: int) -> None:
    quote = bytearray(PLATFORM.quote(body()))
    quote[at] ^= 1
    it = Offer(KEYSET, evidence_of(bytes(quote), COLLATERAL), COLLATERAL)
    assert failed(examine_offer(it)) == [StepName.QUOTE_SIGNATURE]


def test_gpu_reports_of_a_simulated_worker_prove_nothing() -> None:
    bound = offer(report_data=report_data(canonical.digest(KEYSET), [GPU]))
    it = dataclasses.replace(bound, evidence=msgspec.structs.replace(bound.evidence, gpus=[GPU]))
    assert failed(examine_offer(it)) == [StepName.GPU_EVIDENCE]


@pytest.mark.spec("17.1-d")
@pytest.mark.parametrize("platform", ["tdx", "sev-snp", "vtpm"])
def test_a_platform_that_the_policy_does_not_name_is_refused(platform: str) -> None:
    said = keyset(platform=platform)
    it = offer(said)
    shown = dataclasses.replace(
        it, evidence=msgspec.structs.replace(it.evidence, platform=platform)
    )
    examination = examine_offer(shown)
    assert failed(examination) == [StepName.PLATFORM_ALLOWED]
    named = examine_offer(shown, policy=parse_policy(policy_table(platforms=[platform])))
    assert named.refusal is not None


@pytest.mark.spec("17.1-d", "17.3-a")
@pytest.mark.parametrize(
    ("rules", "step"),
    [
        ({"platforms": []}, StepName.PLATFORM_ALLOWED),
        ({"platforms": ["tdx", "sev-snp", "vtpm"]}, StepName.PLATFORM_ALLOWED),
        ({"network": "mainnet", "platforms": ["tdx"]}, StepName.PLATFORM_ALLOWED),
        ({"simulated": {}}, StepName.CERTIFICATE_CHAIN),
        ({"simulated": simulated_rules(roots=[])}, StepName.CERTIFICATE_CHAIN),
        ({"simulated": simulated_rules(roots=[root_sha256(FOREIGN_ROOT)])},
         StepName.CERTIFICATE_CHAIN),
        ({"simulated": simulated_rules(accepted_tcb=[])}, StepName.TCB_STATUS),
        ({"simulated": simulated_rules(accepted_tcb=["OutOfDate"])}, StepName.TCB_STATUS),
        ({"simulated": simulated_rules(mr_td=[])}, StepName.MEASUREMENT),
        ({"models": {}}, StepName.MODEL_ALLOWED),
        ({"models": {"smol": {"engines": ["bb" * 32]}}}, StepName.MODEL_ALLOWED),
        ({"models": {"smol": {"weights": ["aa" * 32]}}}, StepName.MODEL_ALLOWED),
    ],
)  # fmt: skip
def test_an_empty_or_other_list_denies(rules: dict[str, Any], step: StepName) -> None:
    examination = examine_offer(HONEST, policy=parse_policy(policy_table(**rules)))
    assert failed(examination) == [step]


def test_a_tcb_status_passes_only_by_name() -> None:
    old = view(status="OutOfDate", advisories=("INTEL-SA-99999",))
    rules = simulated_rules(accepted_tcb=["UpToDate", "OutOfDate"])
    steps = {step.name: step for step in verify(old, simulated=rules).steps}
    assert steps[StepName.TCB_STATUS].detail == "OutOfDate"


def test_a_genuine_machine_is_no_simulated_one() -> None:
    said = evidence_of(genuine.QUOTE, genuine.COLLATERAL)
    it = Offer(KEYSET, said, genuine.COLLATERAL)
    assert failed(examine_offer(it)) == [StepName.QUOTE_STRUCTURE]


def test_models_that_the_policy_does_not_name_are_not_served() -> None:
    other = msgspec.structs.replace(MODEL, id="other")
    worker = verify(offer(keyset(models=[other, MODEL])))
    assert worker.models == (MODEL,)
    with pytest.raises(ModelNotFound):
        worker.model("other")


def test_the_first_sealing_key_is_the_one_to_use_and_all_are_checked() -> None:
    second = HpkeKey(id="0b" * 16, alg=KEYSET.hpke[0].alg, pk=KEYSET.hpke[0].pk)
    assert verify(offer(keyset(hpke=[KEYSET.hpke[0], second]))).hpke_key()[0] == "0a" * 16
    broken = msgspec.structs.replace(second, pk=pk_text(SEALING_KEY[:1184] + bytes(32)))
    it = offer(keyset(hpke=[KEYSET.hpke[0], broken]))
    assert failed(examine_offer(it)) == [StepName.SEALING_KEY]


@pytest.mark.spec("17.1-b")
def test_a_step_left_open_without_leave_refuses() -> None:
    honest = examine_offer(HONEST)
    opened = tuple(
        dataclasses.replace(step, result=Result.UNKNOWN)
        if step.name is StepName.MEASUREMENT
        else step
        for step in honest.steps
    )
    refusal = dataclasses.replace(honest, steps=opened).refusal
    assert refusal is not None
    assert refusal.name is StepName.MEASUREMENT


def test_documents_survive_the_wire() -> None:
    assert canonical.decode(canonical.encode(HONEST.keyset), Keyset) == HONEST.keyset
    assert canonical.decode(canonical.encode(HONEST.evidence), Evidence) == HONEST.evidence
