"""GPU evidence for a keyset: what the machine's quoter shows beside its CPU's quote (SPEC 13.5).

GPUs are asked only when their mode would be accepted, since whoever verifies can only refuse the
rest later. The result is the `gpus` of evidence: architecture, PEM chain and SPDM report.
"""

import asyncio
import base64
from collections.abc import Sequence

from bombyx.attestation.binding import gpu_nonce
from bombyx.attestation.evidence import MAX_GPU_TEXT, GpuEvidence
from bombyx.attestation.policy_names import SIMULATED
from bombyx.errors import AttestationError, SetupError
from worker.attest.port import Gpus, no_gpus
from worker.gpu.confidential import require_confidential
from worker.gpu.groups import Group, parse_groups
from worker.gpu.nvml import Nvml
from worker.gpu.port import GpuProbe, GpuReport


def machine_gpus(gpus: str) -> Gpus:
    """The GPUs that a worker with this `--gpus` shows: its group, or all that there are.

    Raises `SetupError` where GPUs are named, and there is no driver or no such GPU.
    """
    groups = parse_groups(gpus)
    try:
        probe = Nvml()
    except SetupError:
        if groups:
            raise
        return no_gpus
    group = groups[0] if groups else tuple(range(probe.count()))
    for index in group:
        probe.gpu(index)
    return AttestedGpus(probe, group) if group else no_gpus


def refuse_open_gpus(platform: str, gpus: Gpus) -> None:
    """Before an engine loads for minutes: GPUs that could not be attested on this platform.

    Raises `AttestationError` with every cause; a simulated machine shows no GPU and may have any.
    """
    if platform != SIMULATED and isinstance(gpus, AttestedGpus):
        gpus.check()


class AttestedGpus:
    """These GPUs as a quoter asks them; a `Gpus`."""

    def __init__(self, probe: GpuProbe, group: Group) -> None:
        self._probe = probe
        self._group = group

    def check(self) -> None:
        """Raises `AttestationError` unless the GPUs are confidential."""
        require_confidential(self._probe.confidential())

    async def __call__(self, keyset_digest: bytes) -> list[GpuEvidence]:
        """Each GPU's report; raises `AttestationError` unless all are confidential."""
        return await asyncio.to_thread(
            gpu_evidence, self._probe, self._group, keyset_digest=keyset_digest
        )


def gpu_evidence(
    probe: GpuProbe, group: Sequence[int], *, keyset_digest: bytes
) -> list[GpuEvidence]:
    """Evidence of these GPUs for a keyset, the nonce of each by its place in the list.

    Raises `AttestationError`.
    """
    require_confidential(probe.confidential())
    return [
        _evidence(probe.report(index, gpu_nonce(keyset_digest, place)))
        for place, index in enumerate(group)
    ]


def _evidence(report: GpuReport) -> GpuEvidence:
    certificate = base64.b64encode(report.certificates).decode()
    text = base64.b64encode(report.report).decode()
    if max(len(certificate), len(text)) > MAX_GPU_TEXT:
        raise AttestationError("a GPU's evidence is longer than evidence may be")
    return GpuEvidence(arch=report.arch, certificate=certificate, report=text)
