"""NVIDIA devices, each with one thing wrong, under a root of our own."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes

from bombyx.attestation.checklist import Verdict, judge
from bombyx.attestation.factors import Factor
from bombyx.attestation.nvidia.device import MAX_CHAIN_BYTES, DeviceEvidence
from bombyx.attestation.nvidia.reference import Reference
from bombyx.attestation.nvidia.spdm import MAX_REPORT_BYTES, parse_report
from bombyx.attestation.nvidia.verify import verify_nvidia
from bombyx.attestation.nvidia.versions import is_older
from bombyx.attestation.pem import to_pem
from bombyx.attestation.platform_rules import NvidiaPolicy
from bombyx.attestation.steps import Result
from tests.bombyx.attestation.gpus import NOW, ROOT, Gpu, certificate, key
from tests.bombyx.attestation.tee import code

GPU = Gpu()
SECOND = Gpu(name="two")
SWITCH = Gpu(name="switch", chip="LS_10 A01 FSP BROM", architecture="LS10", driver=b"", fwid=b"")


def examine(*shown: Gpu | DeviceEvidence, **more: Any) -> Verdict:
    evidence = [one.evidence() if isinstance(one, Gpu) else one for one in shown]
    given = {"policy": NvidiaPolicy(), "now": NOW, **more}
    return judge(lambda checklist: verify_nvidia(evidence, checklist=checklist, root=ROOT, **given))


def broken(at: int, value: int, gpu: Gpu = GPU) -> DeviceEvidence:
    """A message with another byte, signed all the same."""
    message = bytearray(gpu.message())
    message[at] = value
    return gpu.evidence(gpu.signed(bytes(message)))


@pytest.mark.spec("17.6-a")
def test_honest_devices_pass_together() -> None:
    verdict = examine(GPU, SECOND, SWITCH, policy=NvidiaPolicy(count=2, min_driver="590.1"))
    assert code(verdict) == ""
    kinds = [device["kind"] for device in verdict.claims["devices"]]
    assert kinds == ["gpu", "gpu", "switch"]
    assert code(examine(Gpu(architecture="blackwell", chip="GB100 A01 GSP BROM"))) == ""


SIZE = len(GPU.message())
CHAIN = GPU.chain()
NO_CA = Gpu(own_may_issue=False)
FAULTS: list[tuple[str, tuple[Gpu | DeviceEvidence, ...], str]] = [
    ("nothing", (), "evidence_malformed"),
    ("too many", (GPU,) * 17, "evidence_too_large"),
    ("the same twice", (GPU, GPU), "duplicate_gpu"),
    ("one device with two firmwares",
     (GPU, GPU.evidence(chain=[certificate("LF", GPU.chip, key("leaf one"), key("own one"),
                                           ca=False, fwid=b"x" + GPU.fwid), *CHAIN[1:]])),
     "duplicate_gpu"),
    ("an empty report", (GPU.evidence(b""),), "evidence_malformed"),
    ("a long report", (GPU.evidence(bytes(MAX_REPORT_BYTES + 1)),), "evidence_too_large"),
    ("another version", (broken(0, 0x12),), "evidence_malformed"),
    ("another request", (broken(1, 0xE1),), "evidence_malformed"),
    ("more blocks", (broken(41, 3),), "evidence_malformed"),
    ("fewer blocks", (broken(41, 1),), "evidence_malformed"),
    ("a block twice", (broken(45 + 55, 1),), "evidence_malformed"),
    ("a block of another form", (broken(46, 2),), "evidence_malformed"),
    ("a block of another size", (broken(50, 47),), "evidence_malformed"),
    ("a longer opaque part", (broken(SIZE - 4 - 48 - 4 - 7 - 2, 200),), "evidence_malformed"),
    ("an opaque field twice", (Gpu(opaque=((3, b"x"),)),), "evidence_malformed"),
    ("an opaque field over its end", (broken(SIZE - 50, 49),), "evidence_malformed"),
    ("another nonce", (replace(GPU.evidence(), nonce=b"n" * 32),), "evidence_nonce"),
    ("another signature", (SECOND.evidence(GPU.signed()),), "evidence_forged"),
    ("a signature of zeros", (GPU.evidence(GPU.message() + bytes(96)),), "evidence_forged"),
    ("other firmware", (Gpu(certified_fwid=b"f" * 48),), "firmware_refused"),
    ("no certified firmware", (Gpu(certified_fwid=b""),), "firmware_refused"),
    ("another architecture", (Gpu(architecture="BLACKWELL"),), "platform_generation"),
    ("an unknown chip", (Gpu(chip="XX100"),), "platform_generation"),
    ("no chain", (replace(GPU.evidence(), chain=b""),), "evidence_chain"),
    ("a short chain", (GPU.evidence(chain=CHAIN[1:]),), "evidence_chain"),
    ("a long chain", (replace(GPU.evidence(), chain=bytes(MAX_CHAIN_BYTES + 1)),),
     "evidence_too_large"),
    ("another root", (GPU.evidence(chain=[*CHAIN[:2], CHAIN[1]]),), "evidence_root"),
    ("another order", (GPU.evidence(chain=[CHAIN[1], CHAIN[0], ROOT]),), "evidence_chain"),
    ("another's leaf", (GPU.evidence(chain=[SECOND.chain()[0], *CHAIN[1:]]),), "evidence_chain"),
    ("no authority", (NO_CA,), "evidence_chain"),
    ("a certificate of garbage", (GPU.evidence(chain=[b"\0" * 50, *CHAIN[1:]]),), "evidence_chain"),
    ("a certificate signed with another hash",
     (GPU.evidence(chain=[certificate("LF", GPU.chip, key("leaf one"), key("own one"), ca=False,
                                      digest=hashes.SHA256()), *CHAIN[1:]]),), "evidence_chain"),
]  # fmt: skip


@pytest.mark.spec("17.6-a")
@pytest.mark.parametrize(
    ("shown", "refused"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS]
)
def test_each_fault_has_its_code(shown: tuple[Gpu | DeviceEvidence, ...], refused: str) -> None:
    assert code(examine(*shown)) == refused


def reference(version: str = "590.12") -> Reference:
    return Reference(version, {0: (b"\1" * 48, b"\7" * 48), 1: (b"\2" * 48,)}, NOW)


def test_measurements_must_be_the_references() -> None:
    verdict = examine(GPU, SWITCH, references=[reference()])
    found = next(one for one in verdict.findings if one.name is Factor.NVIDIA_FIRMWARE)
    assert (code(verdict), found.result) == ("", Result.UNKNOWN)
    assert "driver is measured as its reference says" in found.detail
    other = Reference("590.12", {0: (b"\2" * 48,)}, NOW)
    assert code(examine(GPU, references=[other])) == "firmware_refused"
    missing = Reference("590.12", {5: (b"\2" * 48,)}, NOW)
    assert code(examine(GPU, references=[missing])) == "firmware_refused"
    assert code(examine(GPU, references=[reference("550.1")])) == "collateral_mismatch"


@pytest.mark.parametrize(
    ("version", "floor", "older"),
    [
        ("590.12", "590.12", False),
        ("590.2", "590.12", True),
        ("590.12.01", "590.12", False),
        ("589.99", "590.1", True),
        ("", "1.0", True),
        ("590.12-beta", "1.0", True),
    ],
)
def test_versions_compare_by_their_numbers(version: str, floor: str, *, older: bool) -> None:
    assert is_older(version, floor) is older


def test_the_last_line_of_a_chain_may_lack_its_end() -> None:
    evidence = GPU.evidence()
    assert code(examine(replace(evidence, chain=evidence.chain[:-1]))) == ""
    assert code(examine(replace(evidence, chain=to_pem(b"x")))) == "evidence_chain"


def test_a_switch_writes_its_firmware_as_text() -> None:
    gpu = Gpu(opaque=((6, b"96.10.55.00.01\0"), (99, b"\1")))
    report = parse_report(gpu.signed())
    assert report.vbios_version == "96.10.55.00.01"
    assert report.opaque["99"] == b"\1"
    assert report.measurements[2] == b"\2" * 48
