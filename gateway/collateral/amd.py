"""AMD's key distribution service: a chip's certificate, and authorities with their list."""

import base64
from dataclasses import dataclass
from typing import Final

from bombyx.attestation.certificates import MAX_CERTIFICATE_BYTES, parse_certificate
from bombyx.attestation.snp.chain import MAX_CRL_BYTES
from bombyx.attestation.snp.endorsement import HW_ID
from bombyx.attestation.snp.product import PRODUCTS
from bombyx.attestation.vendor import AmdAuthority, AmdEndorsement
from bombyx.errors import RemoteError
from gateway.collateral.vendor_http import VendorHttp

_MAX_CHAIN: Final = 16 * 1024
_TURIN: Final = "turin"
_TURIN_ID_BYTES: Final = 8
"""Turin's chips are named by the first bytes of the id in their reports; the others are zero."""


@dataclass(frozen=True, slots=True)
class Amd:
    """Where to ask."""

    http: VendorHttp
    kds: str

    async def endorsement(self, product: str, chip_id: str, tcb: str) -> AmdEndorsement:
        """A chip's certificate for a patch level, in hex; raises `NotFound` or `RemoteError`."""
        chip = chip_id[: 2 * _TURIN_ID_BYTES] if product == _TURIN else chip_id
        parts = PRODUCTS[product].tcb(bytes.fromhex(tcb))
        query = "&".join(f"{part}SPL={value:02d}" for part, value in parts.items())
        url = f"{self.kds}/vcek/v1/{product.capitalize()}/{chip}?{query}"
        der = (await self.http.get(url, limit=MAX_CERTIFICATE_BYTES)).body
        try:
            hardware = parse_certificate(der).extensions.get(HW_ID, b"")
        except ValueError:
            raise RemoteError("AMD's service answers without a certificate") from None
        if hardware.hex() != chip:
            raise RemoteError("AMD's service answers with another chip's certificate")
        return AmdEndorsement(certificate=base64.b64encode(der).decode())

    async def authority(self, product: str, kind: str) -> AmdAuthority:
        """The chain above keys of chips (`vcek`) or clouds (`vlek`), and the revocation list."""
        base = f"{self.kds}/{kind}/v1/{product.capitalize()}"
        chain = (await self.http.get(f"{base}/cert_chain", limit=_MAX_CHAIN)).body
        crl = (await self.http.get(f"{base}/crl", limit=MAX_CRL_BYTES)).body
        if not chain.isascii() or not crl:
            raise RemoteError("AMD's service answers without a chain or a list")
        return AmdAuthority(chain=chain.decode(), crl=base64.b64encode(crl).decode())
