"""What a quote's report data must be, where somebody asked (SPEC 13.5)."""

import hmac

from bombyx.attestation.checklist import Checklist
from bombyx.attestation.factors import Factor
from bombyx.errors import BindingMismatch

REPORT_DATA_BYTES = 64


def padded(nonce: bytes) -> bytes:
    """A nonce of at most 64 bytes as report data: zeros behind it. Raises `ValueError`."""
    if not 0 < len(nonce) <= REPORT_DATA_BYTES:
        raise ValueError("a nonce has 1 to 64 bytes")
    return nonce.ljust(REPORT_DATA_BYTES, b"\0")


def check_report_data(stated: bytes, wanted: bytes | None, checklist: Checklist) -> None:
    """The quote was made for the wanted report data; unknown where nobody wanted any."""
    if wanted is None:
        return
    if not hmac.compare_digest(stated, wanted):
        raise BindingMismatch(
            Factor.TEE_REPORTDATA_BINDING,
            "the quote binds other keys or GPU evidence than the ones offered",
        )
    checklist.holds(Factor.TEE_REPORTDATA_BINDING, "the quote's report data is the wanted one")
