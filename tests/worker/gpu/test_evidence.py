"""SPEC 13.5: what GPUs show for a keyset, and that only confidential ones show anything."""

import base64
import subprocess
import sys
from pathlib import Path

import pytest

from bombyx.attestation.binding import gpu_nonce
from bombyx.attestation.evidence import MAX_GPU_TEXT
from bombyx.errors import AttestationError, SetupError
from tests.worker.gpu.contract import GOOD, MemoryProbe
from tests.worker.gpu.library import ROOT, environment
from worker.attest.port import no_gpus
from worker.gpu.confidential import obstacles, require_confidential
from worker.gpu.evidence import AttestedGpus, gpu_evidence, machine_gpus, refuse_open_gpus
from worker.gpu.port import Confidential, Gpu, GpuReport

DIGEST = bytes(range(32))
PPCIE = Confidential(environment=2, feature=False, devtools=False, multi_gpu=1)


@pytest.mark.parametrize(
    ("state", "sentences"),
    [
        (GOOD, []),
        (PPCIE, []),
        (None, ["the driver does not know confidential computing"]),
        (
            Confidential(environment=2, feature=False, devtools=False),
            ["confidential computing is off on these GPUs"],
        ),
        (
            Confidential(environment=2, feature=False, devtools=False, multi_gpu=2),
            ["confidential computing is off on these GPUs"],
        ),
        (
            Confidential(environment=2, feature=True, devtools=True),
            ["devtools mode is on: a debugger can read the GPUs' memory"],
        ),
        (
            Confidential(environment=1, feature=True, devtools=False),
            ["the GPUs' confidential mode is a simulation"],
        ),
        (
            Confidential(environment=0, feature=True, devtools=False),
            ["the GPUs have no confidential environment"],
        ),
        (
            Confidential(environment=0, feature=False, devtools=False),
            ["confidential computing is off on these GPUs"],
        ),
        (
            Confidential(environment=1, feature=False, devtools=True),
            [
                "confidential computing is off on these GPUs",
                "devtools mode is on: a debugger can read the GPUs' memory",
                "the GPUs' confidential mode is a simulation",
            ],
        ),
    ],
)
def test_one_combination_is_accepted_and_each_other_has_its_sentence(
    state: Confidential | None, sentences: list[str]
) -> None:
    assert [one.sentence for one in obstacles(state)] == sentences
    assert all(one.fix for one in obstacles(state))
    if not sentences:
        require_confidential(state)
        return
    with pytest.raises(AttestationError) as refused:
        require_confidential(state)
    assert refused.value.message == "; ".join(sentences)


async def test_each_gpu_signs_the_nonce_of_its_place() -> None:
    probe = MemoryProbe(gpus=[Gpu(index) for index in range(8)])
    shown = await AttestedGpus(probe, (4, 5))(DIGEST)
    reports = [base64.b64decode(one.report) for one in shown]
    assert reports == [b"REPORT" + gpu_nonce(DIGEST, place) for place in range(2)]
    assert {one.arch for one in shown} == {"HOPPER"}
    assert base64.b64decode(shown[0].certificate) == b"CERTIFICATE"


def test_gpus_that_are_not_confidential_are_not_even_asked() -> None:
    probe = MemoryProbe(state=Confidential(environment=2, feature=False, devtools=False))
    with pytest.raises(AttestationError, match="confidential computing is off"):
        gpu_evidence(probe, (0,), keyset_digest=DIGEST)


SHOW = """
import asyncio, sys
from worker.gpu.evidence import machine_gpus
print(len(asyncio.run(machine_gpus(sys.argv[1])(bytes(32)))))
"""


@pytest.mark.parametrize(("gpus", "shown"), [("", 2), ("1", 1), ("0-1", 2)])
def test_a_worker_shows_its_group_or_every_gpu(gpus: str, shown: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOW, gpus],
        cwd=ROOT, env=environment(gpus=2), capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert int(done.stdout) == shown


def test_open_gpus_are_refused_before_anything_starts_but_for_a_simulated_machine() -> None:
    probe = MemoryProbe(state=Confidential(environment=2, feature=True, devtools=True))
    gpus = AttestedGpus(probe, (0,))
    for platform in ("tdx", "sev-snp", "vtpm"):
        with pytest.raises(AttestationError, match="devtools mode is on"):
            refuse_open_gpus(platform, gpus)
        refuse_open_gpus(platform, no_gpus)
        refuse_open_gpus(platform, AttestedGpus(MemoryProbe(), (0,)))
    refuse_open_gpus("simulated", gpus)


def test_evidence_longer_than_it_may_be_is_refused() -> None:
    probe = MemoryProbe(reports={0: GpuReport("HOPPER", b"x", bytes(MAX_GPU_TEXT))})
    with pytest.raises(AttestationError, match="longer than evidence may be"):
        gpu_evidence(probe, (0,), keyset_digest=DIGEST)


async def test_a_machine_without_a_driver_shows_no_gpu_unless_one_was_named(
    tmp_path: Path,
) -> None:
    assert machine_gpus("") is no_gpus
    with pytest.raises(SetupError, match="no NVIDIA driver"):
        machine_gpus("0")
