import base64

import msgspec
import pytest

from bombyx import canonical
from bombyx.attestation.binding import gpu_nonce, report_data
from bombyx.attestation.collateral import collateral_digest
from bombyx.attestation.evidence import GpuEvidence
from tests.bombyx.attestation.world import COLLATERAL, KEYSET
from worker.attest.port import Quote, attest


class MachineWithGpus:
    """Two GPUs that sign their nonce, and a CPU that repeats what it was asked."""

    platform = "simulated"

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def gpus(self, keyset_digest: bytes) -> list[GpuEvidence]:
        self.asked.append("gpus")
        nonces = [gpu_nonce(keyset_digest, place).hex() for place in range(2)]
        return [GpuEvidence(arch="HOPPER", certificate="Yw==", report=nonce) for nonce in nonces]

    async def quote(self, report_data: bytes) -> Quote:
        self.asked.append("cpu")
        return Quote(report_data, COLLATERAL)


@pytest.mark.spec("13.5-c")
async def test_the_cpu_is_asked_last_and_covers_the_gpus() -> None:
    machine = MachineWithGpus()
    attested = await attest(machine, KEYSET)
    assert machine.asked == ["gpus", "cpu"]
    digest = canonical.digest(KEYSET)
    gpus = attested.evidence.gpus
    assert [gpu.report for gpu in gpus] == [gpu_nonce(digest, place).hex() for place in range(2)]
    assert base64.b64decode(attested.evidence.quote) == report_data(digest, gpus)


async def test_evidence_names_its_collateral_and_platform() -> None:
    attested = await attest(MachineWithGpus(), KEYSET)
    assert attested.collateral is not None
    assert attested.evidence.collateral == collateral_digest(attested.collateral)
    assert attested.evidence.platform == "simulated"


async def test_a_keyset_of_another_platform_is_refused_before_any_quote() -> None:
    machine = MachineWithGpus()
    with pytest.raises(ValueError, match="another platform"):
        await attest(machine, msgspec.structs.replace(KEYSET, platform="tdx"))
    assert machine.asked == []
