"""Decisions in files: whole, about their own documents, and the same whenever they are made."""

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from bombyx import canonical
from bombyx.attestation import bundle as bundles
from bombyx.attestation.bundle import (
    Bundle,
    Case,
    Cited,
    case_of,
    decide,
    make_bundle,
    read_bundle,
    recheck,
    subject_of,
    write_bundle,
)
from bombyx.attestation.keyset import keyset_digest
from bombyx.attestation.policy import parse_policy, policy_hash, preset, render_policy
from bombyx.attestation.steps import StepName
from bombyx.attestation.verify import examine
from bombyx.errors import (
    BundleAltered,
    BundleError,
    BundleMalformed,
    BundleMismatch,
    BundleTooLarge,
    DecisionNotReproduced,
)
from tests.bombyx.attestation import amd
from tests.bombyx.attestation.test_machines import ROOTS, Worker
from tests.bombyx.attestation.world import DAY, HONEST, NOW, POLICY, offer, policy_table

CASE = Case(HONEST.keyset, HONEST.evidence, HONEST.collateral, {}, POLICY, NOW)
BUNDLE = decide(CASE)[1]
FILE = write_bundle(BUNDLE)


def resealed(bundle: Bundle, **decision: Any) -> bytes:
    """A file with another decision under its right digest."""
    changed = msgspec.structs.replace(bundle.decision, **decision)
    return write_bundle(msgspec.structs.replace(bundle, decision=changed))


@pytest.mark.spec("17.12-a")
def test_a_decision_is_reproduced_from_its_file_alone() -> None:
    examination = examine(HONEST.keyset, HONEST.evidence, HONEST.collateral, policy=POLICY, now=NOW)
    assert read_bundle(FILE) == BUNDLE
    assert recheck(read_bundle(FILE)) == examination
    decision = BUNDLE.decision
    assert (decision.at, decision.worker, decision.policy, decision.accepted) == (
        NOW, keyset_digest(HONEST.keyset), policy_hash(POLICY), True,
    )  # fmt: skip
    assert decision.expires_at == examination.conclusion.expires_at
    assert [step.name for step in decision.steps] == list(StepName)
    assert case_of(BUNDLE) == CASE


def test_equal_decisions_are_equal_files() -> None:
    assert write_bundle(decide(CASE)[1]) == FILE
    other = decide(dataclasses.replace(CASE, at=NOW + 1))[1]
    assert write_bundle(other) != FILE
    assert subject_of(other.decision) == subject_of(BUNDLE.decision)
    strict = decide(dataclasses.replace(CASE, policy=preset("hardware")))[1]
    assert subject_of(strict.decision) != subject_of(BUNDLE.decision)


@pytest.mark.spec("17.12-a")
def test_a_refusal_is_a_decision_too() -> None:
    examination, refused = decide(dataclasses.replace(CASE, policy=preset("hardware")))
    assert examination.refusal is not None
    decision = read_bundle(write_bundle(refused)).decision
    assert (decision.accepted, decision.expires_at, decision.platform_id) == (False, 0, "")
    (failed,) = [step for step in decision.steps if step.result == "fail"]
    assert (failed.name, failed.code) == (StepName.PLATFORM_ALLOWED, "platform_not_allowed")
    assert recheck(refused).refusal == examination.refusal
    without = dataclasses.replace(CASE, collateral=None)
    assert recheck(read_bundle(write_bundle(decide(without)[1]))).refusal is not None


@pytest.mark.spec("17.12-a")
def test_every_changed_byte_is_refused_with_a_code_of_its_own() -> None:
    found = set()
    for at in range(len(FILE)):
        changed = bytearray(FILE)
        changed[at] ^= 1 << at % 8
        with pytest.raises(BundleError) as refused:
            read_bundle(bytes(changed))
        found.add(type(refused.value))
    assert found == {BundleMalformed, BundleAltered}


@pytest.mark.spec("17.12-a")
def test_a_file_cut_or_lengthened_anywhere_is_refused() -> None:
    for at in range(0, len(FILE), 101):
        with pytest.raises(BundleMalformed):
            read_bundle(FILE[:at])
    for more in (b"\n", b" ", FILE):
        with pytest.raises(BundleMalformed):
            read_bundle(FILE + more)
    with pytest.raises(BundleTooLarge):
        read_bundle(bytes(bundles.MAX_BUNDLE_BYTES + 1))


AMD_TEXT = canonical.encode(amd.authority(amd.crl("genoa", []))).decode()
Spoil = Callable[[Bundle], bytes]


def another(**fields: Any) -> Spoil:
    """Documents of somebody else under the digest of the whole."""
    return lambda one: write_bundle(msgspec.structs.replace(one, **fields))


@pytest.mark.spec("17.12-a")
@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (another(keyset=msgspec.structs.replace(HONEST.keyset, payout="EQthief")), "keyset"),
        (another(evidence=offer().evidence), "evidence"),
        (another(collateral=offer().collateral), "collateral"),
        (another(collateral=msgspec.UNSET), "collateral"),
        (another(vendor={"sev-snp/milan/vcek": AMD_TEXT}), "vendor's document"),
        (another(policy=render_policy(preset("hardware"))), "policy"),
        (lambda one: resealed(one, worker="ab" * 32), "keyset"),
        (lambda one: resealed(one, vendor=[Cited(name="x", digest="ab" * 32)]), "vendor's"),
        (lambda one: resealed(one, policy="ab" * 32), "policy"),
    ],
)
def test_a_decision_about_other_documents_is_refused(spoil: Spoil, what: str) -> None:
    with pytest.raises(BundleMismatch, match=f"another {what}"):
        read_bundle(spoil(BUNDLE))


@pytest.mark.parametrize("policy", ["[", "x = " + "[" * 5000, "version = 2", BUNDLE.policy + "\n"])
def test_a_policy_in_another_spelling_or_none_is_refused(policy: str) -> None:
    with pytest.raises(BundleMalformed, match="policy"):
        read_bundle(another(policy=policy)(BUNDLE))


@pytest.mark.spec("17.12-a")
@pytest.mark.parametrize(
    ("claims", "where"),
    [
        ({"accepted": False}, "another decision$"),
        ({"expires_at": NOW + 1}, "another decision$"),
        ({"platform_id": "ab" * 16}, "another decision$"),
        ({"steps": []}, "at .*measurement"),
        ({"at": NOW + 40 * DAY}, "keyset_form"),
        ({"at": NOW - 2 * DAY}, "keyset_form"),
    ],
)
def test_a_decision_that_comes_out_otherwise_is_not_believed(
    claims: dict[str, Any], where: str
) -> None:
    bundle = read_bundle(resealed(BUNDLE, **claims))
    with pytest.raises(DecisionNotReproduced, match=where):
        recheck(bundle)


@pytest.mark.spec("17.12-a")
def test_a_step_that_is_said_to_pass_and_does_not_is_named() -> None:
    _, refused = decide(dataclasses.replace(CASE, policy=preset("hardware")))
    steps = [
        msgspec.structs.replace(step, result="pass", code=msgspec.UNSET)
        if step.result == "fail"
        else step
        for step in refused.decision.steps
    ]
    bundle = read_bundle(resealed(refused, steps=steps, accepted=True))
    with pytest.raises(DecisionNotReproduced, match="at platform_allowed"):
        recheck(bundle)


def test_another_sentence_for_the_same_result_is_no_other_decision() -> None:
    steps = [msgspec.structs.replace(one, detail="said anew") for one in BUNDLE.decision.steps]
    assert recheck(read_bundle(resealed(BUNDLE, steps=steps))).refusal is None


@pytest.mark.spec("17.10-d", "17.12-a")
def test_what_a_vendor_said_beside_the_evidence_is_in_the_bundle() -> None:
    worker = Worker("sev-snp", rules={"snp": {"measurements": ["11" * 48],
                                              "require_revocation": True}})  # fmt: skip
    keyset, evidence, _ = worker.given()
    text = canonical.encode(amd.authority(amd.crl("genoa", []))).decode()
    case = Case(keyset, evidence, None, {"sev-snp/genoa/vcek": text}, worker.policy(), NOW)
    examination, bundle = decide(case, ROOTS)
    assert examination.refusal is None
    again = read_bundle(write_bundle(bundle))
    cited = Cited(name="sev-snp/genoa/vcek", digest=hashlib.sha256(text.encode()).hexdigest())
    assert again.decision.vendor == [cited]
    assert recheck(again, ROOTS).refusal is None
    without = make_bundle(dataclasses.replace(case, vendor={}), examination.steps,
                          examination.conclusion)  # fmt: skip
    with pytest.raises(DecisionNotReproduced, match="tcb_not_revoked"):
        recheck(without, ROOTS)


def test_a_policy_of_any_form_is_carried_whole() -> None:
    policy = parse_policy(policy_table(gateways=[], tdx={"mr_td": []}, vtpm={}))
    bundle = decide(dataclasses.replace(CASE, policy=policy))[1]
    assert case_of(read_bundle(write_bundle(bundle))).policy == policy
