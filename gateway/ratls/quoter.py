"""The machine's quoter, as far as a gateway needs one (SPEC 17.11).

What makes quotes ships with the worker, and roles never import each other: it is found by its entry
point, as the commands of the roles are.
"""

from collections.abc import Callable
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from bombyx.attestation.collateral import Collateral
from bombyx.attestation.simulated import image_measurement
from bombyx.attestation.vendor import VendorDocument, read_document
from bombyx.errors import AttestationError, BombyxError, SetupError
from gateway.collateral.service import CollateralService

GROUP: Final = "bombyx.quoters"
NAME: Final = "machine"

_log = structlog.get_logger(__name__)


class Quote(Protocol):
    """A machine's quote and its vendor's word about it, if the quote needs one."""

    @property
    def raw(self) -> bytes:
        """The quote's bytes."""
        ...

    @property
    def collateral(self) -> Collateral | None:
        """DCAP collateral, or None."""
        ...


class Quoter(Protocol):
    """One machine's hardware."""

    @property
    def platform(self) -> str:
        """The platform's name in policies."""
        ...

    async def quote(self, report_data: bytes) -> Quote:
        """A quote over 64 bytes with current collateral; raises `AttestationError`."""
        ...


class OwnCollateral:
    """Vendors' documents out of the gateway's own store, which fetches what is not there."""

    def __init__(self, service: CollateralService) -> None:
        self._service = service

    async def find(self, name: str) -> VendorDocument:
        """The document; raises `AttestationError`."""
        try:
            kept = await self._service.find(name)
        except BombyxError as error:
            raise AttestationError(f"no collateral of {name}: {error.message}") from None
        return read_document(name, kept.document)


def gateway_image() -> bytes:
    """What a simulated machine measures where a gateway runs: another image than a worker's."""
    return image_measurement(f"gateway {version('bombyx')}")


def _opener() -> Any:
    try:
        (point,) = entry_points(group=GROUP, name=NAME)
        return point.load()
    except (ModuleNotFoundError, ValueError):
        raise SetupError("ra_tls needs what makes quotes: pip install bombyx-worker") from None


def find_quoter(folder: Path, *, clock: Callable[[], int], service: CollateralService) -> Quoter:
    """The machine's quoter; `clock` gives unix seconds. Raises `SetupError` where there is none."""
    quoter: Quoter
    quoter, reason = _opener()(
        folder, clock=clock, source=OwnCollateral(service), image=gateway_image()
    )
    _log.info("ra_tls_machine", platform=quoter.platform, reason=reason)
    return quoter
