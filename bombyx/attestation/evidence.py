"""What a worker shows for its keyset: a CPU quote and, where it has GPUs, their reports (SPEC 17).

Collateral (what the vendor says about the platform) goes by reference: its digest is named here,
the document travels beside, since it is the same for many workers.
"""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from bombyx.canonical import Document
from bombyx.units import Hex32

MAX_QUOTE_TEXT = 22_000
"""Base64 of 16 KiB: a TDX quote with its certificates has about 5 KiB."""
MAX_GPU_TEXT = 33_000


class GpuEvidence(Document, frozen=True):
    """One GPU's SPDM measurement report and certificate chain, base64."""

    arch: Annotated[str, Meta(max_length=32)]
    certificate: Annotated[str, Meta(max_length=MAX_GPU_TEXT)]
    report: Annotated[str, Meta(max_length=MAX_GPU_TEXT)]


class Evidence(Document, frozen=True):
    """Evidence for one keyset; `collateral` is the hex SHA-256 of its canonical document."""

    platform: Annotated[str, Meta(max_length=16)]
    quote: Annotated[str, Meta(max_length=MAX_QUOTE_TEXT)]
    gpus: Annotated[list[GpuEvidence], Meta(max_length=16)]
    collateral: Hex32 | UnsetType = UNSET
