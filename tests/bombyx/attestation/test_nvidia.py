"""NVIDIA devices, each with one thing wrong, under a root of our own."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes

from bombyx.attestation.checklist import Checklist, Finding, Verdict, judge
from bombyx.attestation.factors import Factor
from bombyx.attestation.nvidia.device import MAX_CHAIN_BYTES, DeviceEvidence
from bombyx.attestation.nvidia.reference import Reference
from bombyx.attestation.nvidia.spdm import MAX_REPORT_BYTES, parse_report
from bombyx.attestation.nvidia.verify import NvidiaWord, verify_nvidia
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


def made_up(name: str) -> DeviceEvidence:
    """A device below a real one, which vouches for it: as whoever tore out its key could."""
    own, leaf, real = key(f"own {name}"), key(f"leaf {name}"), key("own one")
    below = [
        certificate("LF", GPU.chip, leaf, own, ca=False, fwid=GPU.certified_fwid),
        certificate(GPU.chip, GPU.chip, own, real),
    ]
    return Gpu(name=name).evidence(chain=[*below, *GPU.chain()[1:]])


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
    ("two devices that a third one made up", (made_up("x"), made_up("y")), "duplicate_gpu"),
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


def reference(
    version: str = "590.12", golden: dict[int, tuple[bytes, ...]] | None = None
) -> Reference:
    return Reference(version, golden or {0: (b"\1" * 48, b"\7" * 48)}, NOW + 60)


def word(*references: Reference) -> NvidiaWord:
    return NvidiaWord(references=references)


def firmware(verdict: Verdict) -> Finding:
    return next(one for one in verdict.findings if one.name is Factor.NVIDIA_FIRMWARE)


VBIOS = reference("96.00.a5.00.01", {1: (b"\2" * 48,)})
BOARD = Gpu(opaque=((6, bytes.fromhex("00a5009601000000")),))


@pytest.mark.spec("17.6-d")
def test_driver_and_vbios_must_be_measured_as_their_references_say() -> None:
    verdict = examine(BOARD, word=word(reference(), VBIOS))
    assert (code(verdict), firmware(verdict).result) == ("", Result.PASS)
    required = {"policy": NvidiaPolicy(require_firmware=True)}
    assert code(examine(BOARD, word=word(reference(), VBIOS), **required)) == ""
    for one in (reference(), VBIOS):
        half = examine(BOARD, word=word(one))
        assert (code(half), firmware(half).result) == ("", Result.UNKNOWN)
        assert "has none here" in firmware(half).detail
        assert code(examine(BOARD, word=word(one), **required)) == "collateral_missing"


def test_a_measurement_that_differs_or_is_missing_is_refused() -> None:
    other = reference(golden={0: (b"\2" * 48,)})
    missing = reference(golden={5: (b"\2" * 48,)})
    firmware_of_another = reference(VBIOS.version, {1: (b"\3" * 48,)})
    assert code(examine(GPU, word=word(other))) == "firmware_refused"
    assert code(examine(GPU, word=word(missing))) == "firmware_refused"
    assert code(examine(BOARD, word=word(reference(), firmware_of_another))) == "firmware_refused"
    assert code(examine(GPU, word=word(reference("550.1")))) == "collateral_mismatch"


@pytest.mark.spec("17.6-d")
def test_a_switch_is_held_to_the_reference_of_its_own_firmware() -> None:
    switch = replace(SWITCH, opaque=((6, b"96.10.55.00.01\0"),))
    gpus = (reference(), VBIOS)
    without = examine(BOARD, switch, word=word(*gpus))
    assert (code(without), firmware(without).result) == ("", Result.UNKNOWN)
    assert "the switch's BIOS has none here" in firmware(without).detail
    own = reference("96.10.55.00.01", {1: (b"\2" * 48,)})
    assert firmware(examine(BOARD, switch, word=word(*gpus, own))).result is Result.PASS
    other = reference("96.10.55.00.01", {1: (b"\3" * 48,)})
    assert code(examine(BOARD, switch, word=word(*gpus, other))) == "firmware_refused"
    required = NvidiaPolicy(require_firmware=True)
    assert code(examine(BOARD, switch, word=word(*gpus), policy=required)) == "collateral_missing"


@pytest.mark.spec("17.6-d")
def test_two_references_cannot_speak_of_one_measurement() -> None:
    both = reference(VBIOS.version, {0: (b"\1" * 48,)})
    assert code(examine(BOARD, word=word(reference(), both))) == "collateral_mismatch"


@pytest.mark.spec("17.6-d")
def test_a_decoder_that_is_off_was_not_measured() -> None:
    golden = reference(golden={0: (b"\1" * 48,), 35: (b"\5" * 48,)})
    assert code(examine(Gpu(opaque=((11, b"\x55"),)), word=word(golden))) == ""
    for on in ((), ((11, b"\xaa"),)):
        assert code(examine(Gpu(opaque=on), word=word(golden))) == "firmware_refused"


def test_a_verdict_ends_with_the_reference_that_it_stood_on() -> None:
    proofs = []

    def argue(checklist: Checklist) -> None:
        given: dict[str, Any] = {"policy": NvidiaPolicy(), "now": NOW, "root": ROOT}
        given["checklist"] = checklist
        proofs.append(verify_nvidia([GPU.evidence()], word=word(reference()), **given))

    judge(argue)
    assert proofs[0].expires_at == NOW + 60


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
