"""NVIDIA's reference measurements (RIM) for one version of driver or firmware (SPEC 17.6)."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reference:
    """What a vendor's signed reference says; `golden` has the allowed values by reference index.

    `expires_at` (unix seconds) is the end of its signer's certificates.
    """

    version: str
    golden: Mapping[int, tuple[bytes, ...]]
    expires_at: int

    def differing(self, measurements: Mapping[int, bytes]) -> list[int]:
        """The indices whose measurement is missing or none of the allowed values."""
        return [
            index
            for index, allowed in self.golden.items()
            # A reference counts from 0, a device's blocks from 1.
            if measurements.get(index + 1) not in allowed
        ]
