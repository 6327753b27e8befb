"""The port to a machine's attestation hardware, and the one order to use it in (SPEC 13.5)."""

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from msgspec import UNSET

from bombyx import canonical
from bombyx.attestation.binding import report_data
from bombyx.attestation.collateral import Collateral, collateral_digest
from bombyx.attestation.evidence import Evidence, GpuEvidence
from bombyx.attestation.keyset import Keyset

Gpus = Callable[[bytes], Awaitable[list[GpuEvidence]]]
"""Reports of a machine's GPUs for a keyset's digest, as `Quoter.gpus` gives them."""


async def no_gpus(keyset_digest: bytes) -> list[GpuEvidence]:  # noqa: ARG001  (as of any `Gpus`)
    """A machine without GPUs that could prove themselves."""
    return []


@dataclass(frozen=True, slots=True)
class Quote:
    """A machine's quote and what the CPU's vendor says about it; None where it needs no saying."""

    raw: bytes
    collateral: Collateral | None


@dataclass(frozen=True, slots=True)
class Attested:
    """A keyset's evidence and the collateral that it names, if it names any."""

    evidence: Evidence
    collateral: Collateral | None


class Quoter(Protocol):
    """One machine's hardware; an implementation per platform, one contract for all."""

    @property
    def platform(self) -> str:
        """The platform's name in keysets and policies."""
        ...

    async def gpus(self, keyset_digest: bytes) -> list[GpuEvidence]:
        """Each GPU's report over `binding.gpu_nonce(keyset_digest, index)`; empty without GPUs."""
        ...

    async def quote(self, report_data: bytes) -> Quote:
        """A quote over 64 bytes with current collateral; raises `AttestationError`."""
        ...


async def attest(quoter: Quoter, keyset: Keyset) -> Attested:
    """Evidence for a keyset: first the GPUs, then the CPU, whose quote covers their reports.

    Raises `ValueError` for a keyset of another platform.
    """
    if keyset.platform != quoter.platform:
        raise ValueError("the keyset names another platform than the machine's")
    digest = canonical.digest(keyset)
    gpus = await quoter.gpus(digest)
    quote = await quoter.quote(report_data(digest, gpus))
    evidence = Evidence(
        platform=quoter.platform,
        quote=base64.b64encode(quote.raw).decode(),
        gpus=gpus,
        collateral=UNSET if quote.collateral is None else collateral_digest(quote.collateral),
    )
    return Attested(evidence, quote.collateral)
