"""Which attestation hardware a worker uses: found by looking, or named by its owner.

Looked for are TEEs only: configfs-tsm, then a dstack agent. A TPM proves less than a policy for
confidential machines asks for, and many a laptop has one, so it must be named. What is named and
not there refuses to start: a worker never attests less than its owner meant.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from bombyx.attestation.policy_names import SIMULATED
from bombyx.attestation.simulated import image_measurement
from bombyx.errors import AttestationError, SetupError
from worker.attest import dstack, tsm, vtpm
from worker.attest.collateral_source import CollateralFile, CollateralSource, GatewayCollateral
from worker.attest.confidential import DstackQuoter, TsmQuoter
from worker.attest.port import Gpus, Quoter, no_gpus
from worker.attest.simulated import SimulatedQuoter
from worker.attest.simulated_root import load_or_create_root, root_sha256
from worker.attest.vtpm import SOFTWARE_TPMS, VtpmQuoter, find_manufacturer
from worker.link.ratls import connectors
from worker.settings import WorkerSettings

AUTO = "auto"
ROOT_FILE = "simulated-root.pem"


class _RealQuoter(Quoter, Protocol):
    async def measured(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Machine:
    """The quoter that is used, and why, in one sentence; `real` quoters can tell what they run."""

    quoter: Quoter
    reason: str
    real: _RealQuoter | None = None
    simulated: tuple[str, str] | None = None
    """Of the simulated platform: its image's measurement and its root's SHA-256."""

    async def measured(self) -> dict[str, Any]:
        """What a policy has to list for this machine to pass; raises `AttestationError`."""
        if self.real is not None:
            return await self.real.measured()
        mr_td, root = self.simulated or ("", "")
        return {"mr_td": mr_td, "root": root}


@dataclass(frozen=True, slots=True)
class _Places:
    """Where to look, and what quoters are given."""

    settings: WorkerSettings
    folder: Path
    clock: Callable[[], int]
    gpus: Gpus
    given: CollateralSource | None
    image: bytes

    def source(self) -> CollateralSource:
        one = self.settings
        if self.given is not None:
            return self.given
        if one.collateral is not None:
            return CollateralFile(one.collateral)
        return GatewayCollateral(one.gateway, connectors(one.gateway_policy, clock=self.clock))


def choose_machine(
    settings: WorkerSettings,
    folder: Path,
    *,
    clock: Callable[[], int],
    gpus: Gpus = no_gpus,
    source: CollateralSource | None = None,
    image: bytes | None = None,
) -> Machine:
    """The machine's quoter; `folder` keeps a simulated root, `clock` gives unix seconds.

    `source` stands in for the collateral that the settings name, `image` (48 bytes) for the worker
    that a simulated machine claims to run.
    Raises `SetupError` where the platform that was named is not there.
    """
    image = image or image_measurement(version("bombyx"))
    places = _Places(settings, folder, clock, gpus, source, image)
    platform = settings.platform
    if platform == SIMULATED:
        return _simulated(places, "settings name it")
    if platform == vtpm.PLATFORM:
        return _vtpm(places)
    if platform == AUTO and settings.simulated_root is not None:
        return _simulated(places, "settings name a simulated root")
    found, missing = _probe(places)
    if platform == AUTO:
        return found or _simulated(places, f"there is no TEE: {'; '.join(missing)}")
    if found is not None and found.quoter.platform == platform:
        return found
    raise SetupError(_not_there(platform, found, missing))


def _probe(places: _Places) -> tuple[Machine | None, Sequence[str]]:
    """The first TEE that answers, or why each does not."""
    missing = []
    for look in (_tsm, _dstack):
        try:
            return look(places), ()
        except AttestationError as error:
            missing.append(error.message)
    return None, missing


def _not_there(platform: str, found: Machine | None, missing: Sequence[str]) -> str:
    why = "; ".join(missing) if found is None else f"it is {found.quoter.platform}"
    return f"platform {platform} was asked for, and this machine does not offer it: {why}"


def _tsm(places: _Places) -> Machine:
    root = places.settings.tsm_path
    provider = tsm.find_provider(root)
    if provider not in tsm.PROVIDERS:
        raise AttestationError(f"configfs-tsm is driven by {provider[:32]!r}, which is not known")
    quoter = TsmQuoter(provider, root=root, source=places.source(), gpus=places.gpus)
    return Machine(quoter, f"configfs-tsm at {root} is driven by {provider}", quoter)


def _dstack(places: _Places) -> Machine:
    socket = places.settings.dstack_socket
    dstack.find_agent(socket)
    quoter = DstackQuoter(socket, source=places.source(), gpus=places.gpus)
    return Machine(quoter, f"a dstack agent listens at {socket}", quoter)


def _vtpm(places: _Places) -> Machine:
    device = places.settings.tpm_device
    try:
        maker = find_manufacturer(device)
    except AttestationError as error:
        raise SetupError(_not_there(vtpm.PLATFORM, None, [error.message])) from None
    kind = "a TPM made of software" if maker in SOFTWARE_TPMS else f"a TPM of {maker}"
    reason = f"settings name it; {device} is {kind}, which by itself keeps nothing confidential"
    quoter = VtpmQuoter(device, gpus=places.gpus)
    return Machine(quoter, reason, quoter)


def _simulated(places: _Places, why: str) -> Machine:
    root_file = places.settings.simulated_root or places.folder / ROOT_FILE
    root = load_or_create_root(root_file, now=places.clock())
    image = places.image
    quoter = SimulatedQuoter(root, image=image, clock=places.clock)
    names = (image.hex(), root_sha256(root))
    return Machine(quoter, f"{why}; simulated evidence protects nothing", simulated=names)
