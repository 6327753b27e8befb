"""From what hardware gives to the quote that is shown, on TDX and SEV-SNP (SPEC 17.4, 17.5).

Quotes are cut where they end by their own lengths, compared with what was asked for, and given
their vendor's words. A machine that answers for something else is refused here already, since its
evidence could only be refused by everybody else.
"""

import base64

import dcap_qvl  # type: ignore[import-untyped]  # ships stubs without the py.typed mark

from bombyx.attestation.pem import to_pem
from bombyx.attestation.snp.product import product_of_cpu
from bombyx.attestation.snp.report import REPORT_BYTES, SnpReport, parse_report
from bombyx.attestation.tdx.raw import parse_raw_quote
from bombyx.attestation.tdx_quote import TdxQuote
from bombyx.attestation.vendor import tdx_name, vcek_name
from bombyx.errors import AttestationError, EvidenceRefused
from worker.attest.amd_certificates import read_table
from worker.attest.collateral_source import CollateralSource, find_dcap, find_endorsement
from worker.attest.port import Quote

_OTHER = "the machine gave a quote over other report data than asked for"


async def tdx_quote(padded: bytes, report_data: bytes, source: CollateralSource) -> Quote:
    """A TDX quote with Intel's collateral; raises `AttestationError`."""
    raw, parsed = read_tdx(padded)
    if parsed.report_data != report_data:
        raise AttestationError(_OTHER)
    return Quote(raw, await find_dcap(source, platform_of(raw)))


def read_tdx(padded: bytes) -> tuple[bytes, TdxQuote]:
    """A quote without zeros behind it, and its fields; raises `AttestationError`."""
    try:
        raw, parsed = parse_raw_quote(padded)
    except EvidenceRefused as refusal:
        raise AttestationError(f"the machine's quote: {refusal.message}") from None
    if not isinstance(parsed, TdxQuote):
        raise AttestationError("the machine gave a quote of an enclave, not of TDX")
    return raw, parsed


def platform_of(raw: bytes) -> str:
    """The name of the collateral that Intel publishes for the quote's machine."""
    try:
        found = dcap_qvl.parse_quote(raw)
        return tdx_name(found.fmspc(), found.ca())
    except ValueError:
        raise AttestationError("the machine's quote names no family of processors") from None


async def snp_quote(
    report: bytes, table: bytes, report_data: bytes, source: CollateralSource
) -> Quote:
    """A report, followed by its key's certificate in PEM; raises `AttestationError`.

    The host shows the certificate, or the gateway is asked for it. AMD's authorities are known to
    every verifier and need not be shown.
    """
    parsed = read_snp(report)
    if parsed.report_data != report_data:
        raise AttestationError(_OTHER)
    shown = read_table(table)
    kind = "vlek" if parsed.signing_key else "vcek"
    endorsement = shown.get(kind)
    if endorsement is None:
        endorsement = await _ask_for(parsed, kind, source)
    return Quote(report[:REPORT_BYTES] + to_pem(endorsement), None)


def read_snp(report: bytes) -> SnpReport:
    """A report's fields; raises `AttestationError`."""
    try:
        return parse_report(report)
    except EvidenceRefused as refusal:
        raise AttestationError(f"the machine's report: {refusal.message}") from None


async def _ask_for(report: SnpReport, kind: str, source: CollateralSource) -> bytes:
    if kind == "vlek":
        raise AttestationError(
            "the report is signed by a cloud's key (VLEK), whose certificate only the host has, "
            "and it shows none"
        )
    product = product_of_cpu(*report.cpu) if report.cpu is not None else None
    if product is None or report.chip_is_masked:
        raise AttestationError(
            "the host shows no certificate for its key, and the report does not say whose it is"
        )
    found = await find_endorsement(
        source, vcek_name(product.name, report.chip_id, report.reported_tcb)
    )
    return base64.b64decode(found.certificate)
