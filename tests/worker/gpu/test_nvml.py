"""NVIDIA's own binding over a library that lies as told: numbers, modes, evidence, absences."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from bombyx.attestation.binding import gpu_nonce
from bombyx.attestation.nvidia.device import DeviceEvidence, verify_device
from bombyx.attestation.nvidia.roots import DEVICE_ROOT
from bombyx.errors import EvidenceRefused, SetupError
from tests.worker.gpu.contract import NONCE, MemoryProbe, hold
from tests.worker.gpu.library import tell
from worker.gpu.nvml import Nvml

EVIDENCE = Path(__file__).parents[2] / "fixtures" / "tee" / "nvidia" / "hopper_evidence.json"

NOW = 1_780_272_000


def test_every_metric_arrives() -> None:
    assert tell("status", gpus=2, xids=2, ecc=1) == {
        "driver": "590.12",
        "confidential": {
            "environment": 2,
            "feature": True,
            "devtools": False,
            "multi_gpu": 0,
            "ready": True,
        },
        "gpus": [
            {
                "index": index,
                "name": "NVIDIA H100 (FAKE)",
                "uuid": f"GPU-FAKE-{index}",
                "arch": "HOPPER",
                "memory_total": 80 * 2**30,
                "memory_used": 20 * 2**30,
                "utilisation": 37,
                "temperature": 55,
                "power_mw": 312_000,
                "ecc_corrected": 3,
                "ecc_uncorrected": 1,
                **({"xid": 79} if index == 0 else {}),
                "xids": 2 if index == 0 else 0,
            }
            for index in range(2)
        ],
    }


def test_the_binding_keeps_the_contract() -> None:
    assert tell("contract", gpus=2) is None


def test_a_probe_in_memory_keeps_the_contract() -> None:
    hold(MemoryProbe(), count=2)


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        ({"cc": 0}, {"feature": False}),
        ({"cc": 0, "multi": 1}, {"feature": False, "multi_gpu": 1}),
        ({"devtools": 1}, {"devtools": True}),
        ({"devtools": 7}, {"devtools": True}),
        ({"env": 1}, {"environment": 1}),
        ({"ready": 0}, {"ready": False}),
    ],
)
def test_each_mode_is_read(knobs: dict[str, int], expected: dict[str, Any]) -> None:
    found = tell("status", **knobs)["confidential"]
    assert {name: found[name] for name in expected} == expected


def test_a_driver_without_settings_tells_by_its_state() -> None:
    found = tell("status", "NO_SETTINGS", devtools=1)["confidential"]
    assert found["devtools"] is True
    assert found["multi_gpu"] is None


def test_an_old_driver_gives_what_it_has() -> None:
    found = tell("status", "OLD_DRIVER")
    assert found == {
        "gpus": [
            {
                "index": 0,
                "name": "NVIDIA H100 (FAKE)",
                "uuid": "GPU-FAKE-0",
                "memory_total": 80 * 2**30,
                "memory_used": 20 * 2**30,
                "utilisation": 37,
                "temperature": 55,
                "xids": 0,
            }
        ]
    }
    refused = tell("report", "OLD_DRIVER")
    assert refused == {
        "error": "AttestationError",
        "sentence": "GPU 0 gives no evidence: the NVIDIA driver answered with error 13",
    }


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (9, "the NVIDIA driver is installed and not loaded"),
        (4, "this user may not talk to the NVIDIA driver"),
        (18, "different versions; restart the machine"),
        (999, "the NVIDIA driver answered with error 999"),
    ],
)
def test_a_driver_that_does_not_start_says_why(code: int, sentence: str) -> None:
    refused = tell("status", init_rc=code)
    assert refused["error"] == "SetupError"
    assert sentence in refused["sentence"]


def test_a_machine_without_a_driver_says_so() -> None:
    with pytest.raises(SetupError, match="no NVIDIA driver is installed"):
        Nvml()


def test_evidence_carries_the_nonce() -> None:
    arch, certificates, report = tell("report")
    assert arch == "HOPPER"
    assert bytes.fromhex(certificates) == b"FAKE CERTIFICATE"
    assert bytes.fromhex(report) == b"FAKE, NOT SIGNED" + NONCE


@pytest.mark.parametrize("size", [0, 0x2001, -1])
def test_an_impossible_length_of_evidence_is_refused(size: int) -> None:
    refused = tell("report", size=size)
    assert refused["sentence"] == "the driver tells an impossible length of evidence"


def test_a_gpu_that_refuses_evidence_says_so() -> None:
    refused = tell("report", evidence_rc=3)
    assert refused["sentence"].startswith("GPU 0 gives no evidence")


def test_real_evidence_comes_through_the_library_and_is_verified(tmp_path: Path) -> None:
    """A recorded H100's report: what the quoter would show is what the verifier takes."""
    recorded = json.loads(EVIDENCE.read_text())[0]
    for name in ("evidence", "certificate"):
        (tmp_path / name).write_bytes(base64.b64decode(recorded[name]))
    arch, certificates, report = tell(
        "report", report=tmp_path / "evidence", certificate=tmp_path / "certificate"
    )
    evidence = DeviceEvidence(
        architecture=arch,
        report=bytes.fromhex(report),
        chain=bytes.fromhex(certificates),
        nonce=bytes.fromhex(recorded["nonce"]),
    )
    device = verify_device(evidence, now=NOW, root=DEVICE_ROOT)
    assert (device.architecture, device.report.driver_version) == ("hopper", "590.12")


def test_the_fakes_own_evidence_is_never_accepted() -> None:
    arch, certificates, report = tell("report")
    evidence = DeviceEvidence(
        architecture=arch,
        report=bytes.fromhex(report),
        chain=bytes.fromhex(certificates),
        nonce=NONCE,
    )
    with pytest.raises(EvidenceRefused):
        verify_device(evidence, now=NOW, root=DEVICE_ROOT)


def test_each_gpu_has_a_nonce_of_its_own() -> None:
    assert len({gpu_nonce(bytes(32), place) for place in range(8)}) == 8
