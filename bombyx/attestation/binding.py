"""What a quote must say to speak for a keyset, one function for both sides (SPEC 13.5).

The CPU's report data covers the keyset and the GPU evidence; each GPU's nonce covers the keyset.
The worker therefore asks its GPUs first and its CPU last.
"""

import hashlib
from collections.abc import Sequence

from bombyx import canonical
from bombyx.attestation.evidence import GpuEvidence

REPORT_DATA_BYTES = 64
_DIGEST_BYTES = 32
_REPORT_LABEL = b"bombyx/1/report\0"
_GPU_LABEL = b"bombyx/1/gpu\0"


def report_data(keyset_digest: bytes, gpus: Sequence[GpuEvidence]) -> bytes:
    """64 bytes for the CPU's quote; without GPUs the hash of `[]` stands in.

    Raises `ValueError` unless the digest has 32 bytes.
    """
    evidence = canonical.digest(list(gpus))
    return hashlib.sha512(_REPORT_LABEL + _checked(keyset_digest) + evidence).digest()


def gpu_nonce(keyset_digest: bytes, index: int) -> bytes:
    """32 bytes that GPU number `index` signs; raises `ValueError` unless the digest has 32."""
    place = index.to_bytes(4, "big")
    return hashlib.sha256(_GPU_LABEL + _checked(keyset_digest) + place).digest()


def _checked(keyset_digest: bytes) -> bytes:
    if len(keyset_digest) != _DIGEST_BYTES:
        raise ValueError("a keyset digest has 32 bytes")
    return keyset_digest
