"""The quoter of virtual TPMs: PCRs signed by a key that stays in the TPM (SPEC 17.7).

A TPM measures what its machine booted, and keeps nothing secret from who runs the machine: outside
of a TEE (or made of software, as swtpm) it proves the image to whoever trusts that TPM's key, and
no confidentiality. It is therefore never chosen by probing.
"""

import asyncio
import hashlib
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bombyx.attestation.evidence import GpuEvidence
from bombyx.attestation.vtpm.quote import TpmEvidence
from bombyx.attestation.vtpm.verify import qualifying_data
from bombyx.errors import AttestationError
from worker.attest.port import Gpus, Quote, no_gpus
from worker.attest.tpm2_device import Tpm, open_channel
from worker.attest.tpm2_wire import PrimaryKey, RawQuote, TpmAnswerError

DEVICE: Final = Path("/dev/tpmrm0")
PLATFORM: Final = "vtpm"
PCRS: Final = tuple(range(16))
"""The static registers: firmware, boot loader, kernel, and what the system measured since. Those
from 16 on can be reset while the machine runs."""
SOFTWARE_TPMS: Final = frozenset({"IBM"})
"""Manufacturers of TPMs made of software (libtpms)."""
_ATTEMPTS: Final = 3
_ATTEST_DIGEST_BYTES: Final = 32


class VtpmQuoter:
    """A TPM behind a device or socket."""

    platform: Final = PLATFORM

    def __init__(self, device: Path = DEVICE, *, gpus: Gpus = no_gpus) -> None:
        self._device = device
        self._gpus = gpus

    async def gpus(self, keyset_digest: bytes) -> list[GpuEvidence]:
        """What the machine's GPUs say."""
        return await self._gpus(keyset_digest)

    async def quote(self, report_data: bytes) -> Quote:
        """A quote whose extra data is SHA-256 of the report data: a TPM takes 32 bytes.

        Raises `AttestationError`.
        """
        evidence = await asyncio.to_thread(take_evidence, self._device, report_data)
        return Quote(evidence.encode(), None)

    async def measured(self) -> dict[str, Any]:
        """What a policy has to list for this machine to pass."""
        evidence = await asyncio.to_thread(take_evidence, self._device, b"")
        values = zip(PCRS, evidence.values, strict=True)
        return {
            "key": hashlib.sha256(evidence.key).hexdigest(),
            "pcrs": {str(number): value.hex() for number, value in values},
        }


def find_manufacturer(device: Path) -> str:
    """Who made the TPM; raises `AttestationError` where there is none."""
    try:
        with Tpm(open_channel(device)) as tpm:
            return tpm.manufacturer()
    except (OSError, TpmAnswerError) as error:
        raise _failed(device, error) from None


def take_evidence(device: Path, report_data: bytes) -> TpmEvidence:
    """Quote and registers that belong together; blocks. Raises `AttestationError`."""
    try:
        with Tpm(open_channel(device)) as tpm:
            key = tpm.attestation_key()
            try:
                return _quote(tpm, key, report_data)
            finally:
                tpm.flush(key.handle)
    except (OSError, TpmAnswerError) as error:
        raise _failed(device, error) from None


def _quote(tpm: Tpm, key: PrimaryKey, report_data: bytes) -> TpmEvidence:
    # A register may be extended between the two commands; then the digests differ.
    for _ in range(_ATTEMPTS):
        quote = tpm.quote(key.handle, data=qualifying_data(report_data), pcrs=PCRS)
        values = tpm.pcrs(PCRS)
        if _covers(quote, values):
            return TpmEvidence(
                quote=quote.attest,
                signature=encode_dss_signature(quote.r, quote.s),
                key=_spki(key.point),
                values=tuple(values[number] for number in PCRS),
            )
    raise AttestationError("the TPM's registers change faster than they can be quoted")


def _covers(quote: RawQuote, values: dict[int, bytes]) -> bool:
    digest = hashlib.sha256(b"".join(values[number] for number in PCRS)).digest()
    return quote.attest[-_ATTEST_DIGEST_BYTES:] == digest


def _spki(point: bytes) -> bytes:
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        raise TpmAnswerError("the TPM's key is not on its curve") from None
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _failed(device: Path, error: Exception) -> AttestationError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return AttestationError(f"the TPM at {device} cannot be used: {why or type(error).__name__}")
