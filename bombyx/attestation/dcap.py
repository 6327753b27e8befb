"""The one place that calls the DCAP library (SPEC 17).

The library reports every failure as a bare `ValueError` with a text. One table turns texts into
steps; a text that no row knows refuses the quote all the same. The table is held by tests that
provoke each row against the real library.
"""

from dataclasses import dataclass
from typing import Any

import dcap_qvl  # type: ignore[import-untyped]  # ships stubs without the py.typed mark
import msgspec

from bombyx.attestation.collateral import Collateral
from bombyx.attestation.steps import StepName
from bombyx.attestation.tcb_levels import check_levels
from bombyx.errors import (
    AttributesRefused,
    BrokenChain,
    CertificateExpired,
    CertificateFromFuture,
    CollateralAltered,
    CollateralChain,
    CollateralExpired,
    CollateralFromFuture,
    CollateralMalformed,
    CollateralMismatch,
    DebugEnabled,
    EvidenceMalformed,
    EvidenceRefused,
    EvidenceRevoked,
    ForgedEvidence,
    MeasurementRefused,
    TcbRefused,
    UnknownRoot,
)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified quote's platform is; ids in hex, times in unix seconds.

    `expires_at` is the earliest end of anything that the verification stood on: nobody may hold
    on to the decision for longer. `out_of_date_since` is the earliest date of a level that is out
    of date, None where none is.
    """

    status: str
    advisory_ids: tuple[str, ...]
    fmspc: str
    ppid: str
    instance: str
    eval_number: int
    expires_at: int
    out_of_date_since: int | None = None


_CAUSES: tuple[tuple[str, StepName, type[EvidenceRefused], str], ...] = (
    (
        "CertRevoked",
        StepName.TCB_NOT_REVOKED,
        EvidenceRevoked,
        "a certificate of the platform is revoked",
    ),
    (
        "TCB status is invalid: Revoked",
        StepName.TCB_NOT_REVOKED,
        EvidenceRevoked,
        "the patch level is revoked",
    ),
    (
        "Debug mode is enabled",
        StepName.DEBUG_DISABLED,
        DebugEnabled,
        "a debugger can read the virtual machine",
    ),
    (
        "SEPT_VE_DISABLE is not enabled",
        StepName.DEBUG_DISABLED,
        AttributesRefused,
        "SEPT_VE_DISABLE is off",
    ),
    (
        "Reserved bits in TD attributes",
        StepName.DEBUG_DISABLED,
        AttributesRefused,
        "reserved attributes are set",
    ),
    ("Invalid MR service TD", StepName.MEASUREMENT, MeasurementRefused, "a service TD is bound"),
    ("TCBInfo expired", StepName.COLLATERAL_CURRENT, CollateralExpired, "the TCB info has expired"),
    (
        "QE Identity expired",
        StepName.COLLATERAL_CURRENT,
        CollateralExpired,
        "the QE identity has expired",
    ),
    (
        "issue date is in the future",
        StepName.COLLATERAL_CURRENT,
        CollateralFromFuture,
        "the collateral is from later",
    ),
    ("CrlExpired", StepName.COLLATERAL_CURRENT, CollateralExpired, "a revocation list has expired"),
    (
        "Signature is invalid for tcb_info",
        StepName.COLLATERAL_CURRENT,
        CollateralAltered,
        "the TCB info is altered",
    ),
    (
        "Signature is invalid for qe_ident",
        StepName.COLLATERAL_CURRENT,
        CollateralAltered,
        "the QE identity is altered",
    ),
    (
        "Fmspc mismatch",
        StepName.COLLATERAL_CURRENT,
        CollateralMismatch,
        "the collateral is another platform's",
    ),
    (
        "Failed to decode TcbInfo",
        StepName.COLLATERAL_CURRENT,
        CollateralMalformed,
        "the TCB info cannot be read",
    ),
    (
        "Failed to decode QeIdentity",
        StepName.COLLATERAL_CURRENT,
        CollateralMalformed,
        "the QE identity cannot be read",
    ),
    (
        "Failed to parse PCK CRL",
        StepName.COLLATERAL_CURRENT,
        CollateralMalformed,
        "a revocation list cannot be read",
    ),
    (
        "non-TDX TCB info",
        StepName.COLLATERAL_CURRENT,
        CollateralMismatch,
        "the TCB info is not of TDX",
    ),
    (
        "Unsupported QE Identity",
        StepName.COLLATERAL_CURRENT,
        CollateralMismatch,
        "the QE identity is not of TDX",
    ),
    (
        "chain is too short",
        StepName.COLLATERAL_CURRENT,
        CollateralChain,
        "the collateral's signer is missing",
    ),
    (
        "No matching TCB level found",
        StepName.TCB_STATUS,
        TcbRefused,
        "the patch level is older than any known",
    ),
    (
        "TDX module TCB level",
        StepName.TCB_STATUS,
        TcbRefused,
        "the TDX module is older than any known",
    ),
    (
        "from QE Identity",
        StepName.TCB_STATUS,
        TcbRefused,
        "the quoting enclave is older than any known",
    ),
    (
        "levels found in QE",
        StepName.TCB_STATUS,
        TcbRefused,
        "the quoting enclave has no known patch level",
    ),
    (
        "Unrecognized TCB status",
        StepName.TCB_STATUS,
        TcbRefused,
        "the patch level has an unknown status",
    ),
    (
        "ISV enclave report signature",
        StepName.QUOTE_SIGNATURE,
        ForgedEvidence,
        "header, body or signature changed",
    ),
    (
        "QE report hash mismatch",
        StepName.QUOTE_SIGNATURE,
        ForgedEvidence,
        "the attestation key is not the QE's",
    ),
    (
        "Signature is invalid for qe_report",
        StepName.QUOTE_SIGNATURE,
        ForgedEvidence,
        "the QE report is not signed",
    ),
    (
        "Failed to decode quote",
        StepName.QUOTE_STRUCTURE,
        EvidenceMalformed,
        "the quote cannot be read",
    ),
    ("root CA CRL", StepName.CERTIFICATE_CHAIN, UnknownRoot, "the collateral is of a foreign root"),
    (
        "Intel extension not found",
        StepName.CERTIFICATE_CHAIN,
        BrokenChain,
        "the certificate is no platform's",
    ),
    (
        "PCK certificate",
        StepName.CERTIFICATE_CHAIN,
        BrokenChain,
        "the platform's certificate cannot be read",
    ),
    (
        "CertNotValidYet",
        StepName.CERTIFICATE_CHAIN,
        CertificateFromFuture,
        "a certificate is from later",
    ),
    ("CertExpired", StepName.CERTIFICATE_CHAIN, CertificateExpired, "a certificate has expired"),
    (
        "certificate chain",
        StepName.CERTIFICATE_CHAIN,
        BrokenChain,
        "the chain does not lead to the root",
    ),
)
"""Part of the library's text, the step that it fails, its error, our sentence; the first match
counts."""

_UNKNOWN_CAUSE = (
    StepName.QUOTE_SIGNATURE,
    ForgedEvidence,
    "the quote does not verify, for a cause without a name",
)


def verify_quote(quote: bytes, collateral: Collateral, *, root: bytes | None, now: int) -> Claims:
    """Signatures, chain, revocation, dates and TCB level, at `now` in unix seconds.

    `root` is the DER of the root to trust, None Intel's own. The TCB status is *reported*: the
    library accepts all but `Revoked`, so the caller must judge it. What the quote says (measured
    image, report data, attributes) is the caller's too. Raises `EvidenceRefused`.
    """
    verifier = dcap_qvl.QuoteVerifier(root)
    lenient = dcap_qvl.QuotePolicy.claims_only(now)
    said = _to_dcap(collateral)
    try:
        claims = verifier.verify_with_policy(quote, said, now, lenient).to_json()
    except ValueError:
        raise name_cause(_whole_text(quote, collateral, root, now)) from None
    return read_claims(msgspec.json.decode(claims), collateral)


def name_cause(text: str) -> EvidenceRefused:
    """The step and sentence for one of the library's texts; unknown texts refuse as well."""
    rows = ((step, refusal, why) for part, step, refusal, why in _CAUSES if part in text)
    step, refusal, why = next(rows, _UNKNOWN_CAUSE)
    return refusal(step, why)


def _whole_text(quote: bytes, collateral: Collateral, root: bytes | None, now: int) -> str:
    # The verifier's error ends before "Caused by"; the plain functions fail alike and tell it all.
    causes: list[str] = []
    try:
        if root is None:
            dcap_qvl.verify(quote, _to_dcap(collateral), now)
        else:
            dcap_qvl.verify_with_root_ca(quote, _to_dcap(collateral), root, now)
    except ValueError as error:
        causes.append(str(error))
    return "".join(causes)


def _to_dcap(collateral: Collateral) -> dcap_qvl.QuoteCollateralV3:
    try:
        root_ca_crl, pck_crl = map(bytes.fromhex, (collateral.root_ca_crl, collateral.pck_crl))
    except ValueError:
        raise CollateralMalformed(
            StepName.COLLATERAL_CURRENT, "a revocation list ends in half a byte"
        ) from None
    return dcap_qvl.QuoteCollateralV3(
        collateral.pck_crl_issuer_chain,
        root_ca_crl,
        pck_crl,
        collateral.tcb_info_issuer_chain,
        collateral.tcb_info,
        bytes.fromhex(collateral.tcb_info_signature),
        collateral.qe_identity_issuer_chain,
        collateral.qe_identity,
        bytes.fromhex(collateral.qe_identity_signature),
    )


def read_claims(claims: dict[str, Any], collateral: Collateral) -> Claims:
    """The library's claims, and what it leaves unsaid; raises `EvidenceRefused`."""
    since = check_levels(claims, collateral.tcb_info)
    pck = claims["platform"]["pck"]
    ends = (claims["earliest_expiration_date"], claims["qe_iden_earliest_expiration_date"])
    return Claims(
        status=claims["tcb"]["status"],
        advisory_ids=tuple(claims["tcb"]["advisory_ids"]),
        fmspc=bytes(pck["fmspc"]).hex(),
        ppid=bytes(pck["ppid"]).hex(),
        instance=bytes(pck["platform_instance_id"] or b"").hex(),
        eval_number=claims["tcb"]["eval_data_number"],
        expires_at=min(ends),
        out_of_date_since=since,
    )
