"""The simulated platform behind the same port as real hardware (SPEC 17)."""

from collections.abc import Callable
from typing import Final

from bombyx.attestation.evidence import GpuEvidence
from bombyx.attestation.policy_names import SIMULATED
from worker.attest.port import Quote
from worker.attest.simulated_collateral import mint_collateral
from worker.attest.simulated_platform import Body, SimulatedPlatform
from worker.attest.simulated_root import SimulatedRoot


class SimulatedQuoter:
    """A fresh simulated machine under a shared root; `clock` gives unix seconds.

    `image` is the 48-byte measurement that it claims: `image_measurement(version)`.
    """

    def __init__(self, root: SimulatedRoot, *, image: bytes, clock: Callable[[], int]) -> None:
        self._image = image
        self._clock = clock
        self._platform: Final = SimulatedPlatform.create(root, now=clock())

    @property
    def platform(self) -> str:
        """Always `simulated`."""
        return SIMULATED

    async def gpus(self, keyset_digest: bytes) -> list[GpuEvidence]:  # noqa: ARG002  (the port's)
        """No hardware, no GPUs."""
        return []

    async def quote(self, report_data: bytes) -> Quote:
        """A quote with collateral minted anew, so that it is current at every rotation."""
        raw = self._platform.quote(Body(image=self._image, report_data=report_data))
        return Quote(raw, mint_collateral(self._platform, now=self._clock()))
