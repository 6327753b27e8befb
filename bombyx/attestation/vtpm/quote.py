"""The bytes of a TPM 2.0 quote and what travels with it (SPEC 17.7). Parses and judges nothing.

Evidence is the quote as the TPM signed it (TPMS_ATTEST), its signature, the attestation key, and
the values of the quoted registers, each with its length before it.
"""

import struct
from dataclasses import dataclass

from bombyx.attestation.factors import Factor
from bombyx.errors import EvidenceMalformed, EvidenceTooLarge

MAX_EVIDENCE_BYTES = 8 * 1024
_PARTS = 4
_GENERATED = b"\xffTCG"
_QUOTE = 0x8018
_SHA256 = 0x000B
_CLOCK_AND_FIRMWARE_BYTES = 25
"""Clock (8), resets (4), restarts (4), whether it is safe (1), firmware's version (8)."""
_DIGEST_BYTES = 32
_PCR_COUNT = 24


@dataclass(frozen=True, slots=True)
class TpmQuote:
    """What the TPM attests: the nonce it was given, which registers, and a digest over them."""

    nonce: bytes
    selected: tuple[int, ...]
    pcr_digest: bytes
    signed: bytes


@dataclass(frozen=True, slots=True)
class TpmEvidence:
    """A quote with its signature (DER), key (SPKI in DER), and register values (SHA-256)."""

    quote: bytes
    signature: bytes
    key: bytes
    values: tuple[bytes, ...]

    def encode(self) -> bytes:
        """The bytes that a worker shows."""
        parts = (self.quote, self.signature, self.key, b"".join(self.values))
        return b"".join(struct.pack(">H", len(part)) + part for part in parts)


def parse_evidence(raw: bytes) -> TpmEvidence:
    """Take evidence apart; refuses at `tee_quote_structure`."""
    if len(raw) > MAX_EVIDENCE_BYTES:
        raise EvidenceTooLarge(Factor.TEE_QUOTE_STRUCTURE, "the evidence is longer than 8 KiB")
    parts = []
    at = 0
    for _ in range(_PARTS):
        part, at = _sized(raw, at)
        parts.append(part)
    if at != len(raw):
        raise _malformed("bytes stand behind its end")
    quote, signature, key, values = parts
    if len(values) % _DIGEST_BYTES:
        raise _malformed("its register values are no digests of SHA-256")
    split = range(0, len(values), _DIGEST_BYTES)
    return TpmEvidence(
        quote, signature, key, tuple(values[start : start + _DIGEST_BYTES] for start in split)
    )


def parse_quote(raw: bytes) -> TpmQuote:
    """Take a TPMS_ATTEST apart; refuses at `tee_quote_structure`."""
    if raw[:4] != _GENERATED or raw[4:6] != _QUOTE.to_bytes(2, "big"):
        raise _malformed("it is no quote that a TPM made")
    _, at = _sized(raw, 6)
    nonce, at = _sized(raw, at)
    at += _CLOCK_AND_FIRMWARE_BYTES
    if raw[at : at + 4] != (1).to_bytes(4, "big"):
        raise _malformed("it quotes registers of more than one kind")
    form, size = raw[at + 4 : at + 6], raw[at + 6 : at + 7]
    if form != _SHA256.to_bytes(2, "big") or size != b"\3":
        raise _malformed("its registers are not of SHA-256")
    bits = int.from_bytes(raw[at + 7 : at + 10], "little")
    digest, end = _sized(raw, at + 10)
    if end != len(raw) or len(digest) != _DIGEST_BYTES:
        raise _malformed("its digest does not end where it ends")
    selected = tuple(index for index in range(_PCR_COUNT) if bits >> index & 1)
    return TpmQuote(nonce, selected, digest, raw)


def _sized(raw: bytes, at: int) -> tuple[bytes, int]:
    """A part with its length of two bytes before it, and where the next one starts."""
    size = int.from_bytes(raw[at : at + 2], "big")
    end = at + 2 + size
    if at + 2 > len(raw) or end > len(raw):
        raise _malformed("it breaks off")
    return raw[at + 2 : end], end


def _malformed(why: str) -> EvidenceMalformed:
    return EvidenceMalformed(Factor.TEE_QUOTE_STRUCTURE, f"the TPM's evidence is malformed: {why}")
