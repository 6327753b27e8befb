"""The vendors' authorities that evidence must lead to (SPEC 17.2).

Built in, and an argument: a verification is a function of evidence, collateral, roots, policy and
time. No setting and no policy changes them; other ones are for machines that do not exist.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bombyx.attestation.nvidia.roots import DEVICE_ROOT
from bombyx.attestation.snp.product import PRODUCTS, Product
from bombyx.attestation.tdx.root import INTEL_ROOT


@dataclass(frozen=True, slots=True)
class Roots:
    """Intel's and NVIDIA's roots (DER), AMD's authorities by generation."""

    intel: bytes
    amd: Mapping[str, Product]
    nvidia: bytes


PINNED: Final = Roots(INTEL_ROOT, PRODUCTS, DEVICE_ROOT)
