"""What vendors say beside evidence: asked for by name, examined where it is at hand."""

import base64
import dataclasses
import sys
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from bombyx import canonical
from bombyx.attestation.evidence import Evidence
from bombyx.attestation.pem import to_pem
from bombyx.attestation.raw_files import read_nvidia
from bombyx.attestation.steps import Result, StepName
from bombyx.attestation.vendor import AmdAuthority, NvidiaReference, VendorDocument, kind_of
from bombyx.attestation.verify import Examination, examine
from bombyx.attestation.wanted import read_documents, wanted_documents, wanted_of_device
from tests.bombyx.attestation import amd, gpus
from tests.bombyx.attestation.tee import file as genuine
from tests.bombyx.attestation.test_machines import GPU, ROOTS, SNP_RULES, Worker, snp_quote
from tests.bombyx.attestation.world import NOW

GENOA = "sev-snp/genoa/vcek"
DRIVER = "590.12"
OTHER = gpus.Gpu(chip="GB100 A01 GSP BROM", architecture="BLACKWELL").shown()
STRICT = {"snp": {**SNP_RULES, "require_revocation": True}}
WORKER = Worker("sev-snp", rules=STRICT)


def under(vendor: Mapping[str, VendorDocument], worker: Worker = WORKER) -> Examination:
    return examine(*worker.given(), policy=worker.policy(), now=NOW, roots=ROOTS, vendor=vendor)


def result(examination: Examination, name: StepName) -> str:
    (step,) = [one for one in examination.steps if one.name is name]
    return step.code or step.result


@pytest.mark.spec("17.10-d", "17.5-c")
def test_a_policy_that_wants_revocation_passes_a_worker_whose_list_is_at_hand() -> None:
    examination = under({GENOA: amd.authority(amd.crl("genoa", []))})
    assert examination.refusal is None
    assert result(examination, StepName.TCB_NOT_REVOKED) == Result.PASS
    assert result(examination, StepName.COLLATERAL_CURRENT) == Result.PASS
    assert result(under({}), StepName.TCB_NOT_REVOKED) == "revocation_unknown"


@pytest.mark.spec("17.10-d")
def test_a_decision_ends_with_the_list_that_it_stood_on() -> None:
    ending = amd.crl("genoa", [], at=NOW - 10 * 86400 + 60)
    assert under({GENOA: amd.authority(ending)}).conclusion.expires_at == NOW + 60


@pytest.mark.spec("17.10-d", "17.5-c")
@pytest.mark.parametrize(
    ("name", "document", "code"),
    [
        (GENOA, amd.authority(amd.crl("genoa", [7])), "evidence_revoked"),
        (GENOA, amd.authority(amd.crl("genoa", [], at=NOW - 11 * 86400)), "collateral_expired"),
        (GENOA, amd.authority(amd.crl("genoa", [], at=NOW + 60)), "collateral_from_future"),
        (GENOA, amd.authority(amd.crl("genoa", [], signer="ask")), "collateral_altered"),
        (GENOA, amd.authority(amd.crl("milan", [])), "collateral_altered"),
        (GENOA, amd.authority(b"no list"), "collateral_malformed"),
        (GENOA, AmdAuthority(chain="x", crl="AAAAA"), "collateral_malformed"),
        ("sev-snp/milan/vcek", amd.authority(amd.crl("milan", [])), "revocation_unknown"),
        ("sev-snp/genoa/vlek", amd.authority(amd.crl("genoa", [])), "revocation_unknown"),
        (GENOA, NvidiaReference(rim="<x/>"), "revocation_unknown"),
    ],
)
def test_a_list_that_does_not_hold_or_is_anothers_refuses(
    name: str, document: VendorDocument, code: str
) -> None:
    examination = under({name: document})
    assert examination.refusal is not None
    assert examination.refusal.code == code


def evidence_with(**changes: Any) -> Evidence:
    return msgspec.structs.replace(WORKER.evidence(), **changes)


def quoted(quote: bytes, platform: str = "sev-snp") -> Evidence:
    return evidence_with(quote=base64.b64encode(quote).decode(), platform=platform)


def test_an_snp_machine_wants_its_authoritys_list() -> None:
    assert wanted_documents(WORKER.evidence()) == (GENOA,)
    cloud = snp_quote(flags=1 << 2)
    assert wanted_documents(quoted(cloud)) == ("sev-snp/genoa/vlek",)
    report, _ = amd.Machine().shown()
    assert wanted_documents(quoted(report + to_pem(amd.OURS["genoa"].ark))) == ()


@pytest.mark.parametrize(
    "evidence",
    [
        Worker().evidence(),
        quoted(b""),
        quoted(snp_quote()[:1300]),
        evidence_with(quote="?"),
        evidence_with(gpus=[msgspec.structs.replace(GPU, report="AAAA")]),
        evidence_with(gpus=[msgspec.structs.replace(GPU, certificate="AAAA")]),
        evidence_with(gpus=[msgspec.structs.replace(GPU, certificate="?")]),
        quoted(genuine("snp/milan_report.bin")),
    ],
)
def test_evidence_that_cannot_be_read_wants_nothing(evidence: Evidence) -> None:
    assert wanted_documents(evidence) == ()


def test_a_hopper_wants_its_drivers_reference_once() -> None:
    given = Worker(gpus=(GPU, GPU)).evidence()
    driver, status = wanted_documents(given)
    assert driver == f"nvidia/rim/NV_GPU_DRIVER_GH100_{DRIVER}"
    assert status.startswith("nvidia/ocsp/")
    assert status.endswith("/05")
    blackwell = dataclasses.replace(Worker(), gpus=(OTHER,)).evidence()
    (only,) = wanted_documents(blackwell)
    assert only.startswith("nvidia/ocsp/")


def test_genuine_devices_want_their_references_and_all_their_certificates_standing() -> None:
    def names(file: str) -> list[str]:
        (one, *_) = read_nvidia(genuine(f"nvidia/{file}"), None)
        return list(wanted_of_device(one.report, one.chain))

    driver, vbios, *standing = names("hopper_evidence.json")
    assert driver == "nvidia/rim/NV_GPU_DRIVER_GH100_590.12"
    assert vbios == "nvidia/rim/NV_GPU_VBIOS_G520_0200_885_9600A50001"
    assert [one.rpartition("/")[2] for one in standing] == [
        "412921ce551e4eeda3",
        "6afe7184f92232c8df7b242261776e56",
        "4c255ede3bd001bf3f4a3b605fca898a",
    ]
    firmware, *_ = names("switch_evidence_ls10.json")
    assert firmware == "nvidia/rim/NV_SWITCH_BIOS_5612_0002_890_9610550001"
    for name in (driver, vbios, firmware, *standing):
        kind_of(name)


@pytest.mark.spec("17.10-d")
def test_a_document_that_cannot_be_read_is_not_at_hand() -> None:
    good = canonical.encode(amd.authority(b"x")).decode()
    read = read_documents(
        {GENOA: good, "sev-snp/turin/vcek": good + " ", "sev-snp/milan/vcek": "{}", "moon": good}
    )
    assert read == {GENOA: amd.authority(b"x")}


@pytest.mark.spec("17.10-d")
def test_a_reference_is_read_only_where_a_policy_wants_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("lxml")
    name = f"nvidia/rim/NV_GPU_DRIVER_GH100_{DRIVER}"
    forged = {name: NvidiaReference(rim="<forged/>")}
    easy = Worker(gpus=(GPU,), nvidia={})
    assert under(forged, easy).refusal is None
    firm = Worker(gpus=(GPU,), nvidia={"require_firmware": True})
    refusal = under(forged, firm).refusal
    assert refusal is not None
    assert (refusal.name, refusal.code) == (StepName.GPU_EVIDENCE, "collateral_malformed")
    refusal = under({}, firm).refusal
    assert refusal is not None
    assert refusal.code == "collateral_missing"
    monkeypatch.setitem(sys.modules, "bombyx.attestation.nvidia.rim", None)
    refusal = under(forged, firm).refusal
    assert refusal is not None
    assert refusal.code == "collateral_missing"
