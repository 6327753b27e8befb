"""Quotes as machines write them to files: of TDX or SGX, with zeros behind them (SPEC 17.4).

Only such zeros are no part of a quote; anything else behind its end refuses it. SGX quotes are read
so that they are refused by name: an enclave is no confidential virtual machine.
"""

import struct
from dataclasses import dataclass

from bombyx.attestation.steps import StepName
from bombyx.attestation.tdx_quote import (
    HEADER_BYTES,
    MAX_QUOTE_BYTES,
    TdxQuote,
    parse_quote,
    read_certification,
)
from bombyx.errors import EvidenceMalformed, EvidenceTooLarge

_SGX_VERSION = 3
_SGX_BODY_BYTES = 384
_SIGNATURE_AND_KEY = 128
_BODY_SIZES = {3: _SGX_BODY_BYTES, 4: 584}


@dataclass(frozen=True, slots=True)
class SgxQuote:
    """An enclave's quote, version 3."""

    mr_enclave: bytes
    mr_signer: bytes
    report_data: bytes
    chain: tuple[bytes, ...]


def parse_raw_quote(padded: bytes) -> tuple[bytes, TdxQuote | SgxQuote]:
    """The quote without zeros behind it, and its fields; refuses at `quote_structure`."""
    if len(padded) > MAX_QUOTE_BYTES:
        raise EvidenceTooLarge(StepName.QUOTE_STRUCTURE, "the quote is longer than 16 KiB")
    try:
        end = _end(padded)
        raw, rest = padded[:end], padded[end:]
        if any(rest):
            raise _malformed("bytes behind its end are not zero")
        if int.from_bytes(raw[:2], "little") == _SGX_VERSION:
            return raw, _parse_sgx(raw)
    except struct.error:
        raise _malformed("it breaks off") from None
    return raw, parse_quote(raw)


def _end(padded: bytes) -> int:
    """Where the quote ends by its own lengths."""
    (version,) = struct.unpack_from("<H", padded)
    size = _BODY_SIZES.get(version)
    at = HEADER_BYTES
    if size is None:
        (size,) = struct.unpack_from("<I", padded, at + 2)
        at += 6
    (length,) = struct.unpack_from("<I", padded, at + size)
    end: int = at + size + 4 + length
    return end


def _parse_sgx(raw: bytes) -> SgxQuote:
    body = raw[HEADER_BYTES : HEADER_BYTES + _SGX_BODY_BYTES]
    certification = HEADER_BYTES + _SGX_BODY_BYTES + 4 + _SIGNATURE_AND_KEY
    return SgxQuote(
        mr_enclave=body[64:96],
        mr_signer=body[128:160],
        report_data=body[320:384],
        chain=read_certification(raw, certification),
    )


def _malformed(why: str) -> EvidenceMalformed:
    return EvidenceMalformed(StepName.QUOTE_STRUCTURE, f"the quote is malformed: {why}")
