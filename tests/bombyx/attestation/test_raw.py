"""Every genuine file is accepted or refused as documented, at its pinned time, with no network."""

import hashlib
from typing import Any

import pytest

from bombyx.attestation.checklist import Verdict
from bombyx.attestation.factors import Factor
from bombyx.attestation.raw_files import MAX_EVIDENCE_BYTES
from bombyx.attestation.steps import Result
from tests.bombyx.attestation import tee

COCOON_IMAGE = "04b3afd931d28680af91a15b09d672c40ad6b141f7f9089a8d67d595220f7436"
GOOGLE = tee.file("tdx/google_quote_v4_SPR.dat")
SGX = {"data": tee.file("tdx/sgx_quote"), "collateral": tee.file("tdx/sgx_quote_collateral.json")}
DSTACK_SNP = tee.file("dstack/sev-snp-attestation.json")
RIM = "nvidia/rims/"


def accepted(verdict: Verdict) -> set[str]:
    return {one.name for one in verdict.findings if one.result is Result.PASS}


def detail(verdict: Verdict, name: Factor) -> str:
    return next(one.detail for one in verdict.findings if one.name is name)


TDX_CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("cocoon_quote_v4.dat", {}, "", ""),
    ("tdx_quote_outdated", {}, "tcb_refused", "older than any known"),
    ("phala_tdx_quote_2.hex", {}, "collateral_mismatch", "another platform's"),
    ("google_quote_v4_SPR.dat", {}, "evidence_malformed", "not zero"),
    ("trustee_quote_v4_DEBUG.dat", {"collateral": None}, "evidence_debug", "debugger"),
    ("cocoon_quote_v4.dat", {"collateral": None}, "collateral_missing", "missing"),
    ("cocoon_quote_v4.dat", {"now": 1_700_000_000}, "collateral_from_future", "later"),
    ("cocoon_quote_v4.dat", {"now": 1_800_000_000}, "collateral_expired", "expired"),
    ("cocoon_quote_v4.dat", {"collateral": SGX["collateral"], "now": tee.SGX_TIME},
     "collateral_mismatch", "not of TDX"),
    ("cocoon_quote_v4.dat", {"collateral": b"{}"}, "collateral_malformed", "not DCAP's"),
    ("cocoon_quote_v4.dat", {"collateral": b" " * (3 * 2**20 + 1)}, "evidence_too_large", "3 MiB"),
    ("cocoon_quote_v4.dat", {"nonce": bytes(64)}, "evidence_nonce", "nonce"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "more", "code", "why"), TDX_CASES)
def test_a_tdx_file_comes_to_what_is_documented(
    name: str, more: dict[str, Any], code: str, why: str
) -> None:
    verdict = tee.tdx(tee.file(f"tdx/{name}"), **more)
    assert tee.code(verdict) == code
    assert verdict.ok is (code == "")
    assert why in (verdict.refusal.message if verdict.refusal else "")


def test_the_genuine_machine_is_what_its_quote_says() -> None:
    verdict = tee.tdx()
    claims = verdict.claims
    assert (claims["tcb_status"], claims["advisory_ids"]) == ("UpToDate", [])
    assert (claims["fmspc"], claims["tcb_evaluation"]) == ("90c06f000000", 18)
    assert claims["image_hash"] == COCOON_IMAGE
    assert claims["ppid"] == "ed8ccfd483682eae3651ccf5a224e872"
    assert [one.name for one in verdict.findings] == list(Factor)
    assert "UpToDate" in detail(verdict, Factor.TEE_TCB_CURRENT)


def test_what_nobody_asked_for_is_unknown() -> None:
    assert accepted(tee.tdx()) == {
        "response_schema",
        "tee_quote_present",
        "tee_quote_structure",
        "tee_cert_chain",
        "tee_quote_signature",
        "tee_platform_allowed",
        "tee_debug_disabled",
        "tee_attributes",
        "intel_pcs_collateral",
        "tee_tcb_current",
        "tee_tcb_not_revoked",
    }


def test_an_sgx_quote_is_judged_and_is_no_virtual_machine() -> None:
    verdict = tee.tdx(now=tee.SGX_TIME, **SGX)
    assert tee.code(verdict) == "tcb_refused"
    assert "ConfigurationAndSWHardeningNeeded" in detail(verdict, Factor.TEE_TCB_CURRENT)
    assert verdict.claims["advisory_ids"] == ["INTEL-SA-00289", "INTEL-SA-00615"]
    assert verdict.claims["platform"] == "sgx"
    lenient = tee.policy(tdx={"accepted_tcb": ["ConfigurationAndSWHardeningNeeded"]})
    assert tee.code(tee.tdx(now=tee.SGX_TIME, rules=lenient, **SGX)) == "platform_generation"


def test_a_quote_without_the_protection_from_its_host_is_refused() -> None:
    assert tee.code(tee.tdx(GOOGLE[:4935])) == "evidence_attributes"


def test_an_event_log_is_read_with_its_quote() -> None:
    verdict = tee.tdx(tee.file("dstack/tdx-lite-getquote.json"))
    assert tee.code(verdict) == "evidence_from_future"
    assert Factor.EVENT_LOG_INTEGRITY in accepted(verdict)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "evidence_malformed"),
        (b"{}", "evidence_malformed"),
        (b"{" * 100_000, "evidence_malformed"),
        (bytes(16 * 1024 + 1), "evidence_too_large"),
        (bytes(MAX_EVIDENCE_BYTES + 1), "evidence_too_large"),
        (tee.COCOON[:3000], "evidence_malformed"),
        (tee.COCOON + b"\1", "evidence_malformed"),
        (b"\5\0" + tee.COCOON[2:], "evidence_malformed"),
        (tee.COCOON.hex().upper().encode(), "evidence_malformed"),
        (b'{"quote":"zz"}', "evidence_malformed"),
    ],
)
def test_bytes_that_are_no_quote_are_refused(data: bytes, code: str) -> None:
    assert tee.code(tee.tdx(data)) == code


def test_a_quote_may_come_as_hex_or_with_an_empty_log() -> None:
    assert tee.tdx(tee.COCOON.hex().encode() + b"\n").ok
    inside = f'{{"quote":"{tee.COCOON.hex()}"}}'.encode()
    assert tee.tdx(inside).ok
    with_log = f'{{"quote":"{tee.COCOON.hex()}","event_log":[]}}'.encode()
    assert tee.code(tee.tdx(with_log)) == "event_log_mismatch"


def test_a_nonce_is_compared_with_the_report_data() -> None:
    report_data = bytes.fromhex(tee.tdx().claims["report_data"])
    assert Factor.NONCE_MATCH in accepted(tee.tdx(nonce=report_data))
    assert tee.code(tee.tdx(nonce=report_data[:63])) == "evidence_nonce"


SNP_CASES: list[tuple[bytes, dict[str, Any], str]] = [
    (tee.MILAN, {}, ""),
    (tee.MILAN, {"rules": tee.DEFAULT}, "platform_generation"),
    (tee.MILAN, {"certificates": [tee.VCEK, tee.file("snp/ask_ark_milan.pem")]}, ""),
    (tee.MILAN, {"certificates": [tee.VCEK, tee.file("snp/ask_ark_genoa.pem")]}, "evidence_chain"),
    (tee.MILAN, {"certificates": [tee.VCEK, tee.file("tdx/intel_sgx_root_ca.der")]},
     "evidence_chain"),
    (tee.MILAN, {"certificates": []}, "evidence_chain"),
    (tee.MILAN, {"certificates": [tee.VCEK] * 5}, "evidence_chain"),
    (tee.MILAN, {"certificates": [tee.VCEK, tee.file("snp/vcek_turin.der")]}, "evidence_chain"),
    (tee.MILAN, {"certificates": [tee.file("snp/test-vcek-invalid-new.der")]}, "evidence_chain"),
    (tee.MILAN, {"certificates": [tee.file("snp/google_milan_vcek.der")]}, "evidence_forged"),
    (tee.MILAN, {"certificates": [tee.file("snp/vcek_turin.der")]}, "evidence_forged"),
    (tee.MILAN, {"certificates": [bytes(4097)]}, "evidence_chain"),
    (tee.MILAN, {"certificates": [bytes(65 * 1024)]}, "evidence_too_large"),
    (tee.MILAN, {"certificates": [b"-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----"]},
     "evidence_malformed"),
    (tee.MILAN, {"now": 1_600_000_000}, "evidence_from_future"),
    (tee.MILAN, {"now": 2_000_000_000}, "evidence_expired"),
    (tee.MILAN, {"nonce": b"x"}, "evidence_nonce"),
    (tee.MILAN, {"collateral": b"x"}, "collateral_malformed"),
    (tee.MILAN, {"collateral": bytes(65 * 1024)}, "collateral_malformed"),
    (tee.MILAN, {"collateral": tee.file("tdx/google_rootcrl.der")}, "collateral_altered"),
    (tee.MILAN, {"rules": tee.policy(snp={"generations": ["milan"], "require_revocation": True})},
     "revocation_unknown"),
    (tee.file("snp/google_milan_debug_report.bin"),
     {"certificates": [tee.file("snp/google_milan_vcek.der")]}, "evidence_debug"),
    (DSTACK_SNP, {"certificates": [], "now": tee.JULY_2026}, ""),
    (DSTACK_SNP, {"certificates": [tee.file("snp/ask_ark_milan.pem")], "now": tee.JULY_2026}, ""),
    (DSTACK_SNP, {"certificates": []}, "evidence_from_future"),
    (tee.MILAN[:-1], {}, "evidence_malformed"),
    (tee.MILAN + b"\0", {}, "evidence_too_large"),
    (b"", {}, "evidence_malformed"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "more", "code"), SNP_CASES)
def test_an_snp_file_comes_to_what_is_documented(
    data: bytes, more: dict[str, Any], code: str
) -> None:
    assert tee.code(tee.snp(data, **more)) == code


def test_the_genuine_report_is_what_its_certificate_says() -> None:
    verdict = tee.snp(nonce=bytes.fromhex(tee.snp().claims["report_data"]))
    assert verdict.claims["generation"] == "milan"
    assert verdict.claims["tcb"]["reported"] == {"bl": 3, "tee": 0, "snp": 8, "ucode": 115}
    assert verdict.claims["chip_id"].startswith("c38427a3")
    assert {Factor.NONCE_MATCH, Factor.TEE_TCB_CURRENT} <= accepted(verdict)
    assert Factor.TEE_TCB_NOT_REVOKED not in accepted(verdict)
    third = tee.snp(DSTACK_SNP, tee.JULY_2026, certificates=[])
    assert bytes.fromhex(third.claims["report_data"]).startswith(b"attest-test-fixture-2026")


NVIDIA_CASES: list[tuple[str, dict[str, Any], str]] = [
    ("hopper_evidence", {}, ""),
    ("hopper_evidence_cert_hold", {}, ""),
    ("switch_evidence_ls10", {}, ""),
    ("multi_switch_ls10", {}, "duplicate_gpu"),
    ("hopper_evidence", {"nonce": bytes(32)}, "evidence_nonce"),
    ("hopper_evidence", {"now": 1_500_000_000}, "evidence_from_future"),
    ("hopper_evidence", {"now": 2**40}, "evidence_expired"),
    ("hopper_evidence", {"rules": tee.policy(nvidia={"architectures": ["ls10"]})},
     "platform_generation"),
    ("hopper_evidence", {"rules": tee.policy(nvidia={"count": 8})}, "gpu_count"),
    ("switch_evidence_ls10", {"rules": tee.policy(nvidia={"count": 0})}, ""),
    ("hopper_evidence", {"rules": tee.policy(nvidia={"min_driver": "595.1"})}, "firmware_refused"),
    ("hopper_evidence", {"rules": tee.policy(nvidia={"min_driver": "590.12"})}, ""),
    ("hopper_evidence", {"rules": tee.policy(nvidia={"vbios": []})}, "firmware_refused"),
    ("hopper_evidence", {"rules": tee.policy(nvidia={"devices": ["00" * 32]})},
     "platform_not_listed"),
    ("hopper_evidence", {"rules": tee.policy(nvidia={"require_revocation": True})},
     "revocation_unknown"),
    ("hopper_evidence", {"rules": tee.policy(nvidia={"require_firmware": True})},
     "collateral_missing"),
    ("hopper_evidence", {"collateral": tee.file(RIM + "NV_GPU_DRIVER_GH100_550.144.03.xml"),
                         "now": tee.JUNE_2026}, "collateral_mismatch"),
    ("switch_evidence_ls10", {"collateral": tee.file(RIM + "NV_GPU_DRIVER_GH100_550.144.03.xml")},
     ""),
    ("hopper_evidence",
     {"collateral": tee.file(RIM + "NV_GPU_DRIVER_GH100_570.124.03_expired.xml")},
     "collateral_expired"),
    ("hopper_evidence", {"collateral": tee.file(RIM + "incorrect_signature_driver_rim.xml")},
     "collateral_altered"),
    ("hopper_evidence", {"collateral": tee.file(RIM + "incorrect_cert_chain_driver_rim.xml"),
                         "now": tee.JUNE_2025}, "collateral_chain"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "more", "code"), NVIDIA_CASES)
def test_an_nvidia_file_comes_to_what_is_documented(
    name: str, more: dict[str, Any], code: str
) -> None:
    assert tee.code(tee.nvidia(tee.file(f"nvidia/{name}.json"), **more)) == code


def test_the_genuine_gpu_is_what_its_evidence_says() -> None:
    nonce = bytes.fromhex(tee.document("nvidia/hopper_evidence.json")[0]["nonce"])
    verdict = tee.nvidia(nonce=nonce)
    (device,) = verdict.claims["devices"]
    assert (device["architecture"], device["kind"]) == ("hopper", "gpu")
    assert (device["driver"], device["vbios"]) == ("590.12", "96.00.A5.00.01")
    assert Factor.NVIDIA_NONCE_CLIENT_BOUND in accepted(verdict)
    assert Factor.NVIDIA_NONCE_CLIENT_BOUND not in accepted(tee.nvidia())
    listed = tee.policy(nvidia={"devices": [device["identity"]], "vbios": ["96.00.A5.00.01"]})
    assert tee.nvidia(rules=listed).ok


def test_measurements_are_compared_with_the_reference_of_the_same_driver() -> None:
    # No genuine pair of evidence and reference is at hand: the reference of another driver differs.
    from bombyx.attestation.nvidia.device import verify_device  # noqa: PLC0415
    from bombyx.attestation.nvidia.rim import parse_rim  # noqa: PLC0415
    from bombyx.attestation.nvidia.roots import DEVICE_ROOT  # noqa: PLC0415
    from bombyx.attestation.raw_files import read_nvidia  # noqa: PLC0415

    (evidence,) = read_nvidia(tee.H100, None)
    device = verify_device(evidence, root=DEVICE_ROOT, now=tee.JUNE_2026)
    rim = parse_rim(tee.file(RIM + "NV_GPU_DRIVER_GH100_550.144.03.xml"), now=tee.JUNE_2025)
    assert (rim.version, len(rim.golden)) == ("550.144.03", 21)
    assert len(rim.differing(device.report.measurements)) == 11


def test_the_copied_files_are_the_ones_that_were_published() -> None:
    root = hashlib.sha256(tee.file("tdx/intel_sgx_root_ca.der")).hexdigest()
    assert root == "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"
