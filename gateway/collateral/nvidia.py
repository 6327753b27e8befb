"""NVIDIA's reference measurements (RIM) and its word on revoked certificates (OCSP)."""

import base64
from dataclasses import dataclass
from typing import Final

import msgspec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from bombyx.attestation.nvidia.revocation import MAX_STATUS_BYTES, parse_answer
from bombyx.attestation.vendor import NvidiaReference, NvidiaStatus
from bombyx.errors import EvidenceRefused, RemoteError
from gateway.collateral.vendor_http import VendorHttp

_MAX_REFERENCE: Final = 1_400_000
"""Base64 of a MiB: a driver's measurements have about 30 KiB."""
_DIGEST: Final = "sha384"
"""How certificates are asked about, and named in answers."""


class _RimAnswer(msgspec.Struct):
    rim: str


@dataclass(frozen=True, slots=True)
class Nvidia:
    """Where to ask."""

    http: VendorHttp
    rim: str
    ocsp: str

    async def reference(self, name: str) -> NvidiaReference:
        """Measurements by the name that NVIDIA gives them, as `NV_GPU_DRIVER_GH100_550.144.03`."""
        body = (await self.http.get(f"{self.rim}/v1/rim/{name}", limit=_MAX_REFERENCE)).body
        try:
            text = base64.b64decode(msgspec.json.decode(body, type=_RimAnswer).rim, validate=True)
            return NvidiaReference(rim=text.decode())
        except (msgspec.DecodeError, ValueError):
            raise RemoteError("NVIDIA's service answers without measurements") from None

    async def status(self, name_hash: str, key_hash: str, serial: str) -> NvidiaStatus:
        """Whether a certificate is revoked; issuer's SHA-384 hashes and serial number in hex."""
        number = int(serial, 16)
        builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
            bytes.fromhex(name_hash), bytes.fromhex(key_hash), number, SHA384()
        )
        question = builder.build().public_bytes(Encoding.DER)
        kind = "application/ocsp-request"
        answer = await self.http.post(self.ocsp, question, kind=kind, limit=MAX_STATUS_BYTES)
        _check_answers(answer.body, number, bytes.fromhex(name_hash), bytes.fromhex(key_hash))
        return NvidiaStatus(response=base64.b64encode(answer.body).decode())


def _check_answers(der: bytes, serial: int, name_hash: bytes, key_hash: bytes) -> None:
    try:
        answer = parse_answer(der)
    except EvidenceRefused:
        raise RemoteError("NVIDIA's service answers without a status") from None
    asked = (serial, name_hash, key_hash)
    if answer.digest != _DIGEST or (answer.serial, answer.name_hash, answer.key_hash) != asked:
        raise RemoteError("NVIDIA's service answers about another certificate")
