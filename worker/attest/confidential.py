"""Quoters of confidential machines: over configfs-tsm, or over a dstack guest agent (SPEC 13.5)."""

import asyncio
from pathlib import Path
from typing import Any, Final

from bombyx.attestation.binding import REPORT_DATA_BYTES
from bombyx.attestation.evidence import GpuEvidence
from bombyx.errors import AttestationError
from worker.attest import dstack, tsm
from worker.attest.collateral_source import CollateralSource
from worker.attest.port import Gpus, Quote, no_gpus
from worker.attest.real_quotes import read_snp, read_tdx, snp_quote, tdx_quote

TDX: Final = "tdx"
SNP: Final = "sev-snp"
_PROBE: Final = bytes(REPORT_DATA_BYTES)
"""Report data of quotes that are only looked at."""


class TsmQuoter:
    """Linux's own interface; `provider` is the driver that `tsm.find_provider` found."""

    def __init__(
        self, provider: str, *, root: Path, source: CollateralSource, gpus: Gpus = no_gpus
    ) -> None:
        self._provider = provider
        self._root = root
        self._source = source
        self._gpus = gpus

    @property
    def platform(self) -> str:
        """`tdx` or `sev-snp`, as the driver says."""
        return tsm.PROVIDERS[self._provider]

    async def gpus(self, keyset_digest: bytes) -> list[GpuEvidence]:
        """What the machine's GPUs say."""
        return await self._gpus(keyset_digest)

    async def quote(self, report_data: bytes) -> Quote:
        """A quote over 64 bytes; raises `AttestationError`."""
        found = await self._report(report_data)
        if self.platform == TDX:
            return await tdx_quote(found.report, report_data, self._source)
        return await snp_quote(found.report, found.certificates, report_data, self._source)

    async def measured(self) -> dict[str, Any]:
        """What a policy has to list for this machine to pass."""
        report = (await self._report(_PROBE)).report
        return tdx_measurements(report) if self.platform == TDX else snp_measurements(report)

    async def _report(self, report_data: bytes) -> tsm.TsmReport:
        found = await asyncio.to_thread(tsm.get_report, report_data, root=self._root)
        if found.provider != self._provider:
            raise AttestationError("configfs-tsm is another driver's than when the worker started")
        return found


class DstackQuoter:
    """A guest agent that quotes for the containers of its TDX machine."""

    platform: Final = TDX

    def __init__(self, socket: Path, *, source: CollateralSource, gpus: Gpus = no_gpus) -> None:
        self._socket = socket
        self._source = source
        self._gpus = gpus

    async def gpus(self, keyset_digest: bytes) -> list[GpuEvidence]:
        """What the machine's GPUs say."""
        return await self._gpus(keyset_digest)

    async def quote(self, report_data: bytes) -> Quote:
        """A quote over 64 bytes; raises `AttestationError`."""
        raw = await dstack.get_quote(self._socket, report_data)
        return await tdx_quote(raw, report_data, self._source)

    async def measured(self) -> dict[str, Any]:
        """What a policy has to list for this machine to pass."""
        return tdx_measurements(await dstack.get_quote(self._socket, _PROBE))


def tdx_measurements(report: bytes) -> dict[str, Any]:
    """The image of a TDX machine: firmware, and what was loaded since."""
    _, quote = read_tdx(report)
    registers = {f"rtmr{number}": value.hex() for number, value in enumerate(quote.rtmrs)}
    return {"mr_td": quote.mr_td.hex(), **registers}


def snp_measurements(report: bytes) -> dict[str, Any]:
    """The image of an SEV-SNP machine: its launch digest."""
    parsed = read_snp(report)
    return {"measurement": parsed.measurement.hex(), "chip_id": parsed.chip_id.hex()}
