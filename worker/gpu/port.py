"""The port to a machine's GPUs: what they are and do, their confidential mode, their evidence.

Every number is optional: drivers differ, and confidential mode hides some counters. Calls block for
milliseconds; an event loop asks through a thread.
"""

from dataclasses import asdict, dataclass
from typing import Any, Protocol

NONCE_BYTES = 32
"""What a GPU signs beside its measurements (SPDM)."""
ENVIRONMENT_PRODUCTION, ENVIRONMENT_SIMULATED = 2, 1
PROTECTED_PCIE = 1


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU now; None is what the driver does not tell. Bytes, per cent, °C, milliwatts.

    ECC counts memory errors since the driver was loaded. `xid` is the last critical error that
    the driver reported since the probe was opened, `xids` how many there were.
    """

    index: int
    name: str | None = None
    uuid: str | None = None
    arch: str | None = None
    memory_total: int | None = None
    memory_used: int | None = None
    utilisation: int | None = None
    temperature: int | None = None
    power_mw: int | None = None
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None
    xid: int | None = None
    xids: int = 0


@dataclass(frozen=True, slots=True)
class Confidential:
    """Confidential computing as the driver tells it; `multi_gpu` 1 is protected PCIe.

    `ready` is whether the GPUs take work yet, None where the driver does not tell.
    """

    environment: int
    feature: bool
    devtools: bool
    multi_gpu: int | None = None
    ready: bool | None = None


@dataclass(frozen=True, slots=True)
class GpuReport:
    """What one GPU signed: its architecture, certificate chain in PEM, SPDM report."""

    arch: str
    certificates: bytes
    report: bytes


@dataclass(frozen=True, slots=True)
class GpuStatus:
    """All of it at once, for the owner; `confidential` is None where the driver knows none."""

    driver: str | None
    confidential: Confidential | None
    gpus: tuple[Gpu, ...]

    def document(self) -> dict[str, Any]:
        """For JSON: what is not known is left out."""
        document = {
            "driver": self.driver,
            "confidential": asdict(self.confidential) if self.confidential else None,
            "gpus": [_known(asdict(gpu)) for gpu in self.gpus],
        }
        return _known(document)


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


class GpuProbe(Protocol):
    """A machine's GPUs; each method raises `SetupError` once the driver is gone."""

    def driver(self) -> str | None:
        """The driver's version."""
        ...

    def count(self) -> int:
        """How many GPUs there are."""
        ...

    def gpu(self, index: int) -> Gpu:
        """One GPU now; raises `SetupError` where there is none of this number."""
        ...

    def confidential(self) -> Confidential | None:
        """The state of confidential computing; None for a driver that knows none."""
        ...

    def report(self, index: int, nonce: bytes) -> GpuReport:
        """A report over a nonce of 32 bytes; raises `AttestationError` where the GPU gives none."""
        ...

    def close(self) -> None:
        """Let the driver go; may be called twice."""
        ...


def status_of(probe: GpuProbe, indices: tuple[int, ...] | None = None) -> GpuStatus:
    """The machine's GPUs, or those of these numbers."""
    wanted = range(probe.count()) if indices is None else indices
    return GpuStatus(
        probe.driver(), probe.confidential(), tuple(probe.gpu(index) for index in wanted)
    )
