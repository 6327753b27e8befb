"""Machines for lying workers: quotes under a simulated root that the attacker holds (SPEC 17).

What makes such quotes ships with the worker and is found by its entry points, as the commands of
the roles are; where no worker is installed, nobody can pose as one.
"""

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path
from typing import Any

from bombyx import canonical
from bombyx.attestation.binding import report_data
from bombyx.attestation.collateral import Collateral, collateral_digest
from bombyx.attestation.evidence import Evidence
from bombyx.attestation.keyset import Keyset
from bombyx.attestation.simulated import image_measurement

GROUP = "bombyx.simulators"


def unix() -> int:
    """The attacker's clock, in unix seconds."""
    return time.time_ns() // 10**9


@dataclass(frozen=True, slots=True)
class Proven:
    """A keyset with what a gateway lists beside it."""

    keyset: Keyset
    evidence: Evidence
    collateral: Collateral

    @property
    def worker(self) -> str:
        """The worker's id in hex."""
        return canonical.digest(self.keyset).hex()


@dataclass(frozen=True, slots=True, repr=False)
class Simulator:
    """A simulated root and what builds machines under it."""

    root: Any
    machine: Any

    async def prove(
        self,
        keyset: Keyset,
        *,
        image: bytes | None = None,
        bound_to: Keyset | None = None,
        clock: Callable[[], int] = unix,
    ) -> Proven:
        """Evidence for a keyset, of an image and over keys that need not be the true ones."""
        image = image or image_measurement(version("bombyx"))
        machine = self.machine(self.root, image=image, clock=clock)
        digest = canonical.digest(bound_to or keyset)
        quote = await machine.quote(report_data(digest, []))
        evidence = Evidence(
            platform=keyset.platform,
            quote=base64.b64encode(quote.raw).decode(),
            gpus=[],
            collateral=collateral_digest(quote.collateral),
        )
        return Proven(keyset, evidence, quote.collateral)

    def elsewhere(self, folder: Path) -> "Simulator":
        """The same under a root of the attacker's own making."""
        return open_simulator(folder / "foreign-root.pem") or self


def open_simulator(path: Path) -> Simulator | None:
    """The simulated root in a file (made if absent), or None where no worker is installed."""
    points = {point.name: point for point in entry_points(group=GROUP)}
    try:
        root, machine = _load(points["root"]), _load(points["machine"])
    except (KeyError, ModuleNotFoundError):
        return None
    return Simulator(root(path, now=unix()), machine)


def _load(point: EntryPoint) -> Any:
    return point.load()
