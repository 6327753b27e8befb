"""What every `GpuProbe` does, whatever is behind it; also run beside the fake library.

`python -m tests.worker.gpu.contract` holds the real binding to it.
"""

import json
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest

from bombyx.errors import AttestationError, SetupError
from worker.gpu.nvml import Nvml
from worker.gpu.port import Confidential, Gpu, GpuProbe, GpuReport, status_of

NONCE = bytes(range(32))
GOOD = Confidential(environment=2, feature=True, devtools=False, multi_gpu=0, ready=True)


@dataclass
class MemoryProbe:
    """GPUs of a test's own making."""

    state: Confidential | None = GOOD
    gpus: list[Gpu] = field(default_factory=lambda: [Gpu(0), Gpu(1)])
    reports: dict[int, GpuReport] = field(default_factory=dict)
    is_broken: bool = False

    def driver(self) -> str | None:
        return "590.12"

    def count(self) -> int:
        if self.is_broken:
            raise SetupError("the driver is gone")
        return len(self.gpus)

    def gpu(self, index: int) -> Gpu:
        if self.is_broken or index >= len(self.gpus):
            raise SetupError("there is no such GPU")
        return self.gpus[index]

    def confidential(self) -> Confidential | None:
        return self.state

    def report(self, index: int, nonce: bytes) -> GpuReport:
        if len(nonce) != 32:
            raise ValueError("32 bytes")
        self.gpu(index)
        return self.reports.get(index, GpuReport("HOPPER", b"CERTIFICATE", b"REPORT" + nonce))

    def close(self) -> None:
        pass


def hold(probe: GpuProbe, *, count: int) -> None:
    """The rules of the port; raises `AssertionError`."""
    assert probe.count() == count
    assert [probe.gpu(index).index for index in range(count)] == list(range(count))
    with pytest.raises(SetupError):
        probe.gpu(count)
    with pytest.raises(ValueError, match="32 bytes"):
        probe.report(0, NONCE[1:])
    with pytest.raises((SetupError, AttestationError)):
        probe.report(count, NONCE)
    report = probe.report(0, NONCE)
    assert report.certificates
    assert NONCE in report.report
    assert probe.report(0, bytes(32)) != report, "evidence is made for its nonce"
    status = status_of(probe)
    assert [gpu.index for gpu in status.gpus] == list(range(count))
    assert status_of(probe, (1,)).gpus[0].index == 1
    json.dumps(status.document())
    probe.close()
    probe.close()


def tell(what: str) -> Any:
    """What the real binding says here, as JSON; an error by its class and sentence."""
    try:
        probe = Nvml()
        if what == "contract":
            return hold(probe, count=2)
        if what == "report":
            made = probe.report(0, NONCE)
            return [made.arch, made.certificates.hex(), made.report.hex()]
        return status_of(probe).document()
    except (SetupError, AttestationError) as error:
        return {"error": type(error).__name__, "sentence": error.message}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(tell(sys.argv[1])) + "\n")
