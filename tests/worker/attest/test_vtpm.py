"""A real TPM 2.0 (swtpm) quotes through the worker's own quoter; the verifier really checks it."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from bombyx import canonical
from bombyx.attestation.binding import report_data
from bombyx.attestation.checklist import Verdict, judge
from bombyx.attestation.factors import Factor
from bombyx.attestation.platform_rules import VtpmPolicy
from bombyx.attestation.steps import Result
from bombyx.attestation.verify import verify_worker
from bombyx.attestation.vtpm.quote import parse_evidence, parse_quote
from bombyx.attestation.vtpm.verify import qualifying_data, verify_vtpm
from bombyx.errors import (
    AttestationError,
    BindingMismatch,
    MeasurementRefused,
    UnknownRoot,
    WorkerRefused,
)
from tests.bombyx.attestation.world import KEYSET, NOW, POLICY
from tests.worker.attest.software_tpm import SoftwareTpm, needs_swtpm, software_tpm
from worker.attest.port import attest
from worker.attest.vtpm import PCRS, VtpmQuoter, find_manufacturer, take_evidence

pytestmark = needs_swtpm
IMAGE = hashlib.sha256(b"an image").digest()


@pytest.fixture
def tpm() -> Iterator[SoftwareTpm]:
    with software_tpm() as running:
        running.extend(4, IMAGE)
        running.extend(11, IMAGE)
        yield running


async def policy_of(tpm: SoftwareTpm) -> VtpmPolicy:
    """What an owner lists, from what the quoter itself tells."""
    told = await VtpmQuoter(tpm.path).measured()
    pcrs = tuple((int(number), (value,)) for number, value in told["pcrs"].items())
    return VtpmPolicy(keys=(told["key"],), pcrs=pcrs)


def verdict(raw: bytes, policy: VtpmPolicy, asked: bytes) -> Verdict:
    nonce = qualifying_data(asked)
    return judge(lambda list_: verify_vtpm(raw, policy=policy, nonce=nonce, checklist=list_))


async def test_a_quote_of_a_running_tpm_verifies_for_its_keyset(tpm: SoftwareTpm) -> None:
    policy = await policy_of(tpm)
    keyset = msgspec.structs.replace(KEYSET, platform="vtpm")
    attested = await attest(VtpmQuoter(tpm.path), keyset)
    assert (attested.evidence.platform, attested.collateral) == ("vtpm", None)
    raw = base64.b64decode(attested.evidence.quote)
    found = verdict(raw, policy, report_data(canonical.digest(keyset), []))
    assert found.refusal is None
    results = {finding.name: finding.result for finding in found.findings}
    for factor in (Factor.TEE_QUOTE_SIGNATURE, Factor.TEE_MEASUREMENT):
        assert results[factor] is Result.PASS


async def test_a_worker_on_a_tpm_passes_a_policy_that_lists_it_and_no_other(
    tpm: SoftwareTpm,
) -> None:
    keyset = msgspec.structs.replace(KEYSET, platform="vtpm")
    attested = await attest(VtpmQuoter(tpm.path), keyset)
    policy = replace(POLICY, platforms=("vtpm",), vtpm=await policy_of(tpm))
    worker = verify_worker(keyset, attested.evidence, None, policy=policy, now=NOW)
    assert worker.platform == "vtpm"
    for other, why in (
        (POLICY, "platform_allowed"),
        (replace(policy, vtpm=None), "certificate_chain"),
        (replace(policy, vtpm=replace(await policy_of(tpm), pcrs=((4, ("00" * 32,)),))), "measure"),
    ):
        with pytest.raises(WorkerRefused, match=why):
            verify_worker(keyset, attested.evidence, None, policy=other, now=NOW)


async def test_evidence_of_one_keyset_does_not_serve_another(tpm: SoftwareTpm) -> None:
    keyset = msgspec.structs.replace(KEYSET, platform="vtpm")
    attested = await attest(VtpmQuoter(tpm.path), keyset)
    policy = replace(POLICY, platforms=("vtpm",), vtpm=await policy_of(tpm))
    other = msgspec.structs.replace(keyset, boot="ff" * 16)
    with pytest.raises(WorkerRefused, match="report_data_binding"):
        verify_worker(other, attested.evidence, None, policy=policy, now=NOW)


@pytest.mark.parametrize("register", [0, 4, 11, 15])
async def test_one_register_that_differs_is_refused_by_its_number(
    tpm: SoftwareTpm, register: int
) -> None:
    policy = await policy_of(tpm)
    tpm.extend(register, hashlib.sha256(b"one line more").digest())
    asked = bytes(64)
    raw = (await VtpmQuoter(tpm.path).quote(asked)).raw
    refusal = verdict(raw, policy, asked).refusal
    assert isinstance(refusal, MeasurementRefused)
    assert f"register {register} " in refusal.message


async def test_a_register_out_of_reach_changes_nothing(tpm: SoftwareTpm) -> None:
    policy = await policy_of(tpm)
    tpm.extend(16, IMAGE)  # resettable: not quoted
    assert verdict((await VtpmQuoter(tpm.path).quote(bytes(64))).raw, policy, bytes(64)).ok


async def test_a_quote_for_other_report_data_is_refused(tpm: SoftwareTpm) -> None:
    policy = await policy_of(tpm)
    raw = (await VtpmQuoter(tpm.path).quote(b"\1" * 64)).raw
    refusal = verdict(raw, policy, b"\2" * 64).refusal
    assert isinstance(refusal, BindingMismatch)


async def test_another_tpm_with_the_same_registers_is_refused(tpm: SoftwareTpm) -> None:
    policy = await policy_of(tpm)
    with software_tpm() as other:
        other.extend(4, IMAGE)
        other.extend(11, IMAGE)
        raw = (await VtpmQuoter(other.path).quote(bytes(64))).raw
    assert isinstance(verdict(raw, policy, bytes(64)).refusal, UnknownRoot)


def test_the_attestation_key_is_the_same_each_time_and_no_key_stays_loaded(
    tpm: SoftwareTpm,
) -> None:
    keys = {take_evidence(tpm.path, bytes(64)).key for _ in range(5)}  # it has room for three
    assert len(keys) == 1


def test_the_quote_names_the_static_registers_only(tpm: SoftwareTpm) -> None:
    evidence = parse_evidence(take_evidence(tpm.path, bytes(64)).encode())
    assert parse_quote(evidence.quote).selected == PCRS == tuple(range(16))
    assert evidence.values[4] == hashlib.sha256(bytes(32) + IMAGE).digest()


def test_a_tpm_of_software_says_so(tpm: SoftwareTpm) -> None:
    assert find_manufacturer(tpm.path) == "IBM"


def test_a_machine_without_a_tpm_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(AttestationError, match="cannot be used: No such file"):
        take_evidence(tmp_path / "tpm", bytes(64))
