"""What is wrong with GPUs, from the file that a worker writes every few seconds. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from ton.owner.status.problem import Problem

HOT_DEGREES = 88
"""Data centre GPUs slow themselves down from about here on."""
STALE_SECONDS = 60
"""The file is written every 5 s."""
PROTECTED_PCIE = 1
SIMULATED = "simulated"


def problems(told: Mapping[str, Any] | None, platform: str, at: int) -> Iterator[Problem]:
    """Of the document in `gpu-status.json`; `at` in unix seconds. None: no driver, no GPUs."""
    if not told:
        return
    if at - told.get("at", 0) // 1000 > STALE_SECONDS:
        yield Problem("gpu_silent", "the GPUs' driver gives no numbers any more: see dmesg for Xid")
        return
    yield from _mode(told.get("confidential") or {}, platform)
    for gpu in told.get("gpus", ()):
        yield from _one(gpu)


def _mode(state: Mapping[str, Any], platform: str) -> Iterator[Problem]:
    if platform == SIMULATED:
        yield Problem(
            "simulated",
            "its evidence is simulated, which no policy for hardware accepts: name --platform",
        )
    elif not state.get("feature") and state.get("multi_gpu") != PROTECTED_PCIE:
        yield Problem(
            "gpu_mode", "confidential computing is off on these GPUs: bombyx doctor --hardware"
        )
    elif state.get("devtools"):
        yield Problem("gpu_mode", "devtools mode is on: a debugger can read the GPUs' memory")


def _one(gpu: Mapping[str, Any]) -> Iterator[Problem]:
    name = f"GPU {gpu.get('index', '?')}"
    if gpu.get("xids"):
        yield Problem(
            "gpu_error",
            f"{name} reported {gpu['xids']} critical errors, the last of them Xid {gpu.get('xid')}",
        )
    if gpu.get("ecc_uncorrected"):
        count = gpu["ecc_uncorrected"]
        yield Problem("gpu_memory", f"{name} has {count} memory errors that ECC could not mend")
    if gpu.get("temperature", 0) >= HOT_DEGREES:
        yield Problem("gpu_hot", f"{name} is at {gpu['temperature']} °C and slows itself down")
