"""Whether GPUs are confidential enough to be attested: one sentence for each cause.

Accepted is one combination only: confidential computing, or protected PCIe, on; production; no
developer tools.
"""

from dataclasses import dataclass

from bombyx.errors import AttestationError
from worker.gpu.port import (
    ENVIRONMENT_PRODUCTION,
    ENVIRONMENT_SIMULATED,
    PROTECTED_PCIE,
    Confidential,
)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why GPUs cannot be attested, and what to do about it."""

    cause: str
    sentence: str
    fix: str


_UNKNOWN = Obstacle(
    "unknown",
    "the driver does not know confidential computing",
    "use a GPU of the Hopper generation or later, with a data centre driver from 550 on",
)
_OFF = Obstacle(
    "off",
    "confidential computing is off on these GPUs",
    "on the host: nvidia_gpu_tools.py --set-cc-mode=on --reset-after-cc-mode-switch, for every GPU",
)
_DEVTOOLS = Obstacle(
    "devtools",
    "devtools mode is on: a debugger can read the GPUs' memory",
    "on the host: --set-cc-mode=on instead of devtools, for every GPU",
)
_SIMULATED = Obstacle(
    "simulated",
    "the GPUs' confidential mode is a simulation",
    "use a machine whose GPUs were made for production",
)
_UNAVAILABLE = Obstacle(
    "unavailable",
    "the GPUs have no confidential environment",
    "run the worker inside the confidential virtual machine, with the GPU passed through",
)


def obstacles(state: Confidential | None) -> tuple[Obstacle, ...]:
    """Every reason against attesting GPUs in this state; empty when there is none."""
    if state is None:
        return (_UNKNOWN,)
    found = []
    if not state.feature and state.multi_gpu != PROTECTED_PCIE:
        found.append(_OFF)
    if state.devtools:
        found.append(_DEVTOOLS)
    if state.environment == ENVIRONMENT_SIMULATED:
        found.append(_SIMULATED)
    elif state.environment != ENVIRONMENT_PRODUCTION and _OFF not in found:
        found.append(_UNAVAILABLE)
    return tuple(found)


def require_confidential(state: Confidential | None) -> None:
    """Raises `AttestationError` with every cause."""
    found = obstacles(state)
    if found:
        raise AttestationError("; ".join(one.sentence for one in found))
