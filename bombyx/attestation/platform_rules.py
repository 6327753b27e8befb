"""What a policy asks of each real platform; the frozen values that verifiers take (SPEC 17.3).

None means that nobody asked: of raw evidence the factor stays unknown. An empty list allows
nothing. A worker is held to more than raw evidence: it needs listed images in any case.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

GENERATIONS: Final = ("milan", "genoa", "turin")
SIGNING_KEYS: Final = ("vcek", "vlek")
ARCHITECTURES: Final = ("blackwell", "hopper", "ls10")
TCB_PARTS: Final = ("bl", "tee", "snp", "ucode", "fmc")
MAX_PCR: Final = 23

Listed = tuple[str, ...] | None
"""Allowed values in lower-case hex, or None: nobody asked."""

SEPT_VE_DISABLE: Final = 1 << 28
"""Without it the host decides what the guest reads from pages that it took away."""
_PKS, _KEY_LOCKER = 1 << 30, 1 << 31
TD_ATTRIBUTES: Final = SEPT_VE_DISABLE | _PKS | _KEY_LOCKER
"""Harmless ones. PERFMON (bit 63) is not: counters tell of secrets."""
XFAM: Final = 0xE5AE7
"""x87, SSE, AVX, AVX-512, PKU, CET, user interrupts, AMX, APX: nothing that traces or counts."""


@dataclass(frozen=True, slots=True)
class SimulatedRules:
    """Which simulated platforms pass: SHA-256 of root certificates, images, TCB statuses."""

    roots: tuple[str, ...] = ()
    mr_td: tuple[str, ...] = ()
    accepted_tcb: tuple[str, ...] = ()


NO_SIMULATION: Final = SimulatedRules()
"""What a policy without `[simulated]` allows: nothing."""


@dataclass(frozen=True, slots=True)
class TdxPolicy:
    """Which Intel TDX machines pass.

    An `OutOfDate` status, where accepted, passes for `grace_seconds` after the date of the level
    that it is out of date by. `images` holds Cocoon's image hashes (32 bytes), which cover all
    registers; `platforms` PPIDs or platform instance ids (16 bytes).
    """

    accepted_tcb: tuple[str, ...] = ("UpToDate",)
    rejected_advisories: tuple[str, ...] = ()
    grace_seconds: int = 0
    min_evaluation: int = 0
    td_attributes: int = TD_ATTRIBUTES
    xfam: int = XFAM
    images: Listed = None
    mr_seam: Listed = None
    mr_td: Listed = None
    rtmr0: Listed = None
    rtmr1: Listed = None
    rtmr2: Listed = None
    rtmr3: Listed = None
    mr_config: Listed = None
    platforms: Listed = None


@dataclass(frozen=True, slots=True)
class SnpPolicy:
    """Which AMD SEV-SNP machines pass.

    Milan must be named: keys of that generation were extracted by software. `min_tcb` holds
    (part, least value); `guest_policy` and `platform_info` hold bits that must be set;
    `platforms` holds chip ids (64 bytes).
    """

    generations: tuple[str, ...] = ("genoa", "turin")
    signing_keys: tuple[str, ...] = SIGNING_KEYS
    min_tcb: tuple[tuple[str, int], ...] = ()
    guest_policy: int = 0
    platform_info: int = 0
    max_vmpl: int = 0
    require_revocation: bool = False
    measurements: Listed = None
    host_data: Listed = None
    id_keys: Listed = None
    platforms: Listed = None


@dataclass(frozen=True, slots=True)
class NvidiaPolicy:
    """Which NVIDIA devices pass; `count` is how many GPUs there must be (None: any number).

    `min_driver` is a version like `550.90.07`; `vbios` lists versions; `devices` lists SHA-256 of
    device identity keys.
    """

    architectures: tuple[str, ...] = ARCHITECTURES
    count: int | None = None
    min_driver: str | None = None
    vbios: Listed = None
    devices: Listed = None
    require_firmware: bool = False
    require_revocation: bool = False


@dataclass(frozen=True, slots=True)
class VtpmPolicy:
    """Which virtual TPMs pass: SHA-256 of attestation keys (SPKI), and PCR values by number.

    Each PCR named must be quoted and hold one of its values; without any, nothing passes.
    """

    keys: tuple[str, ...] = ()
    pcrs: tuple[tuple[int, tuple[str, ...]], ...] = ()


Rules = TdxPolicy | SnpPolicy | NvidiaPolicy | VtpmPolicy
DEFAULTS: Final[Mapping[str, Rules]] = {
    "tdx": TdxPolicy(),
    "snp": SnpPolicy(),
    "nvidia": NvidiaPolicy(),
    "vtpm": VtpmPolicy(),
}
