"""NVIDIA's own library behind the port: `libnvidia-ml.so.1` through nvidia-ml-py.

`GetConfComputeSettings` takes a pointer: given the structure itself it corrupts the stack, and the
crash comes one call later. Its return code is not checked by the binding.
"""

import contextlib
import ctypes
from collections.abc import Callable
from typing import Any, Final, TypeVar

import pynvml  # type: ignore[import-untyped]

from bombyx.errors import AttestationError, SetupError
from worker.gpu.port import NONCE_BYTES, Confidential, Gpu, GpuReport

_ARCHITECTURES: Final = {
    pynvml.NVML_DEVICE_ARCH_AMPERE: "AMPERE",
    pynvml.NVML_DEVICE_ARCH_ADA: "ADA",
    pynvml.NVML_DEVICE_ARCH_HOPPER: "HOPPER",
    pynvml.NVML_DEVICE_ARCH_BLACKWELL: "BLACKWELL",
    pynvml.NVML_DEVICE_ARCH_RUBIN: "RUBIN",
}
_CAUSES: Final = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "no NVIDIA driver is installed: libnvidia-ml is missing",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is installed and not loaded",
    pynvml.NVML_ERROR_NO_PERMISSION: "this user may not talk to the NVIDIA driver",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
        "the NVIDIA driver and its library have different versions; restart the machine"
    ),
}
_MAX_XIDS = 64
"""Read at once; more come with the next look."""

T = TypeVar("T")


class Nvml:
    """A `GpuProbe` on this machine's driver."""

    def __init__(self) -> None:
        """Raises `SetupError` with the cause where there is no driver."""
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise SetupError(_cause(error)) from None
        self._is_open = True
        self._events: Any = None
        self._xids: dict[int, list[int]] = {}
        self._watch_xids()

    def driver(self) -> str | None:
        """As `535.129.03`."""
        return _optional(pynvml.nvmlSystemGetDriverVersion)

    def count(self) -> int:
        """By the driver, in the order of the PCI bus."""
        return int(_required(pynvml.nvmlDeviceGetCount))

    def gpu(self, index: int) -> Gpu:
        """Each metric by itself: one that fails leaves the others."""
        handle = self._handle(index)
        memory = _optional(pynvml.nvmlDeviceGetMemoryInfo, handle)
        use = _optional(pynvml.nvmlDeviceGetUtilizationRates, handle)
        self._read_xids()
        xids = self._xids.get(index, [])
        return Gpu(
            index=index,
            name=_optional(pynvml.nvmlDeviceGetName, handle),
            uuid=_optional(pynvml.nvmlDeviceGetUUID, handle),
            arch=_architecture(handle),
            memory_total=int(memory.total) if memory else None,
            memory_used=int(memory.used) if memory else None,
            utilisation=int(use.gpu) if use else None,
            temperature=_optional(
                pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU
            ),
            power_mw=_optional(pynvml.nvmlDeviceGetPowerUsage, handle),
            ecc_corrected=_ecc(handle, pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED),
            ecc_uncorrected=_ecc(handle, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED),
            xid=xids[-1] if xids else None,
            xids=len(xids),
        )

    def confidential(self) -> Confidential | None:
        """By the settings, which know of several GPUs; by the older state where they are absent."""
        ready = _optional(pynvml.nvmlSystemGetConfComputeGpusReadyState)
        told = _settings() or _optional(pynvml.nvmlSystemGetConfComputeState)
        if told is None:
            return None
        return Confidential(
            environment=int(told.environment),
            feature=told.ccFeature == pynvml.NVML_CC_SYSTEM_FEATURE_ENABLED,
            # Whatever is not off is on.
            devtools=told.devToolsMode != pynvml.NVML_CC_SYSTEM_DEVTOOLS_MODE_OFF,
            multi_gpu=int(told.multiGpuMode) if hasattr(told, "multiGpuMode") else None,
            ready=None if ready is None else bool(ready),
        )

    def report(self, index: int, nonce: bytes) -> GpuReport:
        """The GPU's own signature; only a GPU in confidential mode gives one."""
        if len(nonce) != NONCE_BYTES:
            raise ValueError("a GPU's nonce has 32 bytes")
        handle = self._handle(index)
        try:
            chain = pynvml.nvmlDeviceGetConfComputeGpuCertificate(handle)
            made = pynvml.nvmlDeviceGetConfComputeGpuAttestationReport(handle, nonce)
        except pynvml.NVMLError as error:
            raise AttestationError(f"GPU {index} gives no evidence: {_cause(error)}") from None
        return GpuReport(
            arch=_architecture(handle) or "UNKNOWN",
            certificates=_cut(chain.attestationCertChain, chain.attestationCertChainSize),
            report=_cut(made.attestationReport, made.attestationReportSize),
        )

    def close(self) -> None:
        """Let events and driver go."""
        if not self._is_open:
            return
        self._is_open = False
        with contextlib.suppress(pynvml.NVMLError):
            if self._events is not None:
                pynvml.nvmlEventSetFree(self._events)
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()

    def _handle(self, index: int) -> Any:
        try:
            return pynvml.nvmlDeviceGetHandleByIndex(index)
        except pynvml.NVMLError as error:
            count = _optional(pynvml.nvmlDeviceGetCount)
            raise SetupError(
                f"there is no GPU {index} among {count or 0}: {_cause(error)}"
            ) from None

    def _watch_xids(self) -> None:
        with contextlib.suppress(pynvml.NVMLError):
            events = pynvml.nvmlEventSetCreate()
            self._events = events
            for index in range(self.count()):
                pynvml.nvmlDeviceRegisterEvents(
                    self._handle(index), pynvml.nvmlEventTypeXidCriticalError, events
                )

    def _read_xids(self) -> None:
        """Whatever happened since the last look; waits for nothing."""
        if self._events is None:
            return
        with contextlib.suppress(pynvml.NVMLError):  # a time-out is the usual end
            for _ in range(_MAX_XIDS):
                event = pynvml.nvmlEventSetWait_v2(self._events, 0)
                index = self._index_of(event.device)
                self._xids.setdefault(index, []).append(int(event.eventData))

    def _index_of(self, device: Any) -> int:
        wanted = ctypes.cast(device, ctypes.c_void_p).value
        for index in range(self.count()):
            if ctypes.cast(self._handle(index), ctypes.c_void_p).value == wanted:
                return index
        return -1


def _settings() -> Any | None:
    settings = pynvml.c_nvmlSystemConfComputeSettings_v1_t()
    code = _optional(pynvml.nvmlSystemGetConfComputeSettings, ctypes.byref(settings))
    return settings if code == pynvml.NVML_SUCCESS else None


def _architecture(handle: Any) -> str | None:
    number = _optional(pynvml.nvmlDeviceGetArchitecture, handle)
    return None if number is None else _ARCHITECTURES.get(number)


def _ecc(handle: Any, kind: int) -> int | None:
    # Since the driver was loaded: an error of last year is no reason to worry.
    return _optional(pynvml.nvmlDeviceGetTotalEccErrors, handle, kind, pynvml.NVML_VOLATILE_ECC)


def _cut(array: Any, size: int) -> bytes:
    """A C array's used part; a size beyond it is a library that lies."""
    whole = bytes(array)
    if not 0 < size <= len(whole):
        raise AttestationError("the driver tells an impossible length of evidence")
    return whole[:size]


def _optional(call: Callable[..., T], *arguments: Any) -> T | None:
    try:
        return call(*arguments)
    except (pynvml.NVMLError, UnicodeDecodeError):
        return None


def _required(call: Callable[..., T], *arguments: Any) -> T:
    try:
        return call(*arguments)
    except pynvml.NVMLError as error:
        raise SetupError(_cause(error)) from None


def _cause(error: Any) -> str:
    code = int(getattr(error, "value", pynvml.NVML_ERROR_UNKNOWN))
    return _CAUSES.get(code, f"the NVIDIA driver answered with error {code}")
