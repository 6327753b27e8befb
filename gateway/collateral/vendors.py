"""Which vendor is asked for which name (SPEC 17.10)."""

from dataclasses import dataclass
from typing import Self

from bombyx.attestation.vendor import VendorDocument, kind_of
from bombyx.errors import NotFound
from gateway.collateral.amd import Amd
from gateway.collateral.intel import Intel
from gateway.collateral.nvidia import Nvidia
from gateway.collateral.vendor_http import VendorHttp
from gateway.settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class Vendors:
    """All vendors; one whose URL is empty is not asked, and then names of it are unknown."""

    http: VendorHttp
    intel: Intel
    amd: Amd
    nvidia: Nvidia

    @classmethod
    def of(cls, settings: GatewaySettings) -> Self:
        """Those that the settings name."""
        http = VendorHttp(seconds=settings.collateral_fetch_s)
        return cls(
            http=http,
            intel=Intel(http, _base(settings.intel_pcs_url), settings.intel_root_crl_url),
            amd=Amd(http, _base(settings.amd_kds_url)),
            nvidia=Nvidia(http, rim=_base(settings.nvidia_rim_url), ocsp=settings.nvidia_ocsp_url),
        )

    async def fetch(self, name: str) -> VendorDocument:
        """A document from its vendor.

        Raises `ValueError` for no name, `NotFound` where nobody knows it, `RemoteError` else.
        """
        kind_of(name)
        parts = name.split("/")
        match parts:
            case ["tdx", fmspc, ca]:
                _asked(self.intel.pcs, "Intel's service")
                return await self.intel.collateral(fmspc, ca)
            case ["sev-snp", product, kind]:
                _asked(self.amd.kds, "AMD's service")
                return await self.amd.authority(product, kind)
            case ["sev-snp", product, chip, tcb]:
                _asked(self.amd.kds, "AMD's service")
                return await self.amd.endorsement(product, chip, tcb)
            case ["nvidia", "rim", reference]:
                _asked(self.nvidia.rim, "NVIDIA's measurements")
                return await self.nvidia.reference(reference)
            case [_, _, name_hash, key_hash, serial]:
                _asked(self.nvidia.ocsp, "NVIDIA's OCSP service")
                return await self.nvidia.status(name_hash, key_hash, serial)
        raise ValueError("this names no collateral of a platform")


def _base(url: str) -> str:
    return url.rstrip("/")


def _asked(url: str, what: str) -> None:
    if not url:
        raise NotFound(f"this gateway does not ask {what}, and has no such document")
