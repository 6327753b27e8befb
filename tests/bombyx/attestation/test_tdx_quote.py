import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bombyx.attestation.simulated import TD_ATTRIBUTES, USER_DATA, XFAM
from bombyx.attestation.tdx_quote import MAX_QUOTE_BYTES, parse_quote
from bombyx.errors import EvidenceRefused
from tests.bombyx.attestation import genuine
from tests.bombyx.attestation.world import IMAGE, PLATFORM, ROOT, body

QUOTE = PLATFORM.quote(body())
CHAIN_AT = 1218 + 2 + 32 + 6
PEM_LENGTH = len(QUOTE) - CHAIN_AT


def patched(at: int, layout: str, *values: int) -> bytes:
    quote = bytearray(QUOTE)
    struct.pack_into(layout, quote, at, *values)
    return bytes(quote)


def with_chain(pem: bytes) -> bytes:
    """The quote with another certificate text, all lengths right."""
    grown = len(pem) - PEM_LENGTH
    quote = bytearray(QUOTE[:CHAIN_AT] + pem)
    for at in (632, 766, CHAIN_AT - 4):
        (length,) = struct.unpack_from("<I", quote, at)
        struct.pack_into("<I", quote, at, length + grown)
    return bytes(quote)


def test_fields_are_the_ones_that_were_quoted() -> None:
    fields = [bytes([place]) * 48 for place in range(1, 6)]
    quote = parse_quote(
        PLATFORM.quote(body(rtmrs=tuple(fields[:4]), mr_config_id=fields[4], report_data=b"r" * 64))
    )
    assert quote.user_data == USER_DATA
    assert quote.seam == bytes(104)
    assert (quote.td_attributes, quote.xfam) == (TD_ATTRIBUTES, XFAM)
    assert quote.mr_td == IMAGE
    assert quote.mr_config == fields[4] + bytes(96)
    assert quote.rtmrs == tuple(fields[:4])
    assert quote.report_data == b"r" * 64
    assert quote.chain[-1] == ROOT.der


def test_a_genuine_quote_parses() -> None:
    quote = parse_quote(genuine.QUOTE)
    assert quote.mr_td.hex().startswith("7357a10d2e27")
    assert (quote.td_attributes, quote.xfam) == (TD_ATTRIBUTES, XFAM)
    assert any(quote.seam)
    assert len(quote.rtmrs) == 4


def test_one_nul_may_end_the_certificates() -> None:
    assert parse_quote(with_chain(QUOTE[CHAIN_AT:] + b"\0")) == parse_quote(QUOTE)


@pytest.mark.spec("17.1-e")
@pytest.mark.parametrize(
    ("quote", "why"),
    [
        (QUOTE + b"\0", "end where the quote ends"),
        (b"", "breaks off"),
        (bytes(MAX_QUOTE_BYTES + 1), "16 KiB"),
        (patched(0, "<H", 5), "TD report 1.0 or 1.5"),
        (patched(0, "<H", 6), "version 4"),
        (patched(2, "<H", 3), "ECDSA"),
        (patched(4, "<I", 0), "TDX"),
        (patched(632, "<I", 1), "signature data"),
        (patched(764, "<H", 5), "certification data"),
        (patched(766, "<I", 1), "certification data"),
        (patched(1218, "<H", 31), "certificates"),
        (patched(1218, "<H", 65535), "breaks off"),
        (patched(CHAIN_AT - 6, "<H", 4), "certificates"),
        (patched(CHAIN_AT - 4, "<I", 1), "certificates"),
        (with_chain(b"nothing"), "not canonical"),
        (with_chain(QUOTE[CHAIN_AT:] + b"\n"), "not canonical"),
        (with_chain(QUOTE[CHAIN_AT:] + b"\0\0"), "not canonical"),
        (with_chain(b"".join(QUOTE[CHAIN_AT:].partition(b"-----END CERTIFICATE-----\n")[:2])),
         "exactly three"),
    ],
)  # fmt: skip
def test_a_malformed_quote_is_refused(quote: bytes, why: str) -> None:
    with pytest.raises(EvidenceRefused, match=why) as refusal:
        parse_quote(quote)
    assert refusal.value.step == "quote_structure"


@settings(max_examples=200)
@given(st.integers(0, len(QUOTE) - 1))
def test_a_quote_cut_anywhere_is_refused(size: int) -> None:
    with pytest.raises(EvidenceRefused):
        parse_quote(QUOTE[:size])


@given(st.binary(max_size=1500))
def test_noise_is_refused_by_name(noise: bytes) -> None:
    with pytest.raises(EvidenceRefused):
        parse_quote(QUOTE[:8] + noise)
