"""Whether a TDX quote is authentic, and allowed by a policy (SPEC 17.4).

Pure: Intel's root is built in, collateral and clock are arguments, and nothing is fetched.
"""

from dataclasses import dataclass
from typing import Any

from bombyx.attestation import dcap
from bombyx.attestation.checklist import Checklist
from bombyx.attestation.cocoon import image_hash
from bombyx.attestation.collateral import Collateral
from bombyx.attestation.event_log import Event, check_event_log
from bombyx.attestation.factors import FACTOR_OF, Factor
from bombyx.attestation.nonce import check_report_data
from bombyx.attestation.platform_rules import TdxPolicy
from bombyx.attestation.steps import StepName
from bombyx.attestation.tdx import checks
from bombyx.attestation.tdx.raw import SgxQuote, parse_raw_quote
from bombyx.attestation.tdx.root import INTEL_ROOT
from bombyx.attestation.tdx_quote import TdxQuote
from bombyx.errors import CollateralMissing, EvidenceRefused, WrongGeneration


@dataclass(frozen=True, slots=True)
class TdxEvidence:
    """A quote, zeros behind it allowed, what Intel says about its machine, and an event log."""

    quote: bytes
    collateral: Collateral | None
    events: tuple[Event, ...] | None = None


@dataclass(frozen=True, slots=True)
class TdxProof:
    """What follows from a quote that passes."""

    quote: TdxQuote
    claims: dcap.Claims


def verify_tdx(
    evidence: TdxEvidence,
    *,
    policy: TdxPolicy,
    now: int,
    report_data: bytes | None,
    checklist: Checklist,
    root: bytes = INTEL_ROOT,
) -> TdxProof:
    """The argument, in order; raises `EvidenceRefused` at the factor that does not hold.

    1. The bytes are a whole quote, and say that nobody debugs the machine.
    2. An event log, where there is one, leads to the registers in it.
    3. Intel's pinned root vouches for the key that signed it, and for its patch level, whose
       status the policy accepts.
    4. It is a virtual machine's, made for this report data, runs listed images, on a listed
       machine.
    """
    try:
        return _argue(evidence, policy, now, report_data, checklist, root)
    except EvidenceRefused as refusal:
        if isinstance(refusal.step, StepName):
            refusal.step = FACTOR_OF[refusal.step]
        raise


def _argue(
    evidence: TdxEvidence,
    policy: TdxPolicy,
    now: int,
    report_data: bytes | None,
    checklist: Checklist,
    root: bytes,
) -> TdxProof:
    # 1
    raw, quote = parse_raw_quote(evidence.quote)
    checklist.holds(Factor.TEE_QUOTE_PRESENT, f"a quote of {len(raw)} bytes")
    checklist.holds(Factor.TEE_QUOTE_STRUCTURE, _form(quote))
    if isinstance(quote, TdxQuote):
        checks.check_attributes(quote, policy, checklist)
        # 2
        if evidence.events is not None:
            check_event_log(evidence.events, quote.rtmrs)
            checklist.holds(
                Factor.EVENT_LOG_INTEGRITY,
                f"{len(evidence.events)} events, digests recomputed, lead to the quote's registers",
            )
    # 3
    claims = _verify(raw, quote, evidence.collateral, root, now)
    checklist.holds(Factor.TEE_CERT_CHAIN, "leads to Intel's root")
    checklist.holds(Factor.TEE_QUOTE_SIGNATURE, "signed by the platform's quoting enclave")
    checklist.holds(Factor.INTEL_PCS_COLLATERAL, f"signed by Intel, ends at {claims.expires_at}")
    checklist.holds(Factor.TEE_TCB_NOT_REVOKED, "neither patch level nor certificates are revoked")
    checklist.claims.update(_claims(quote, claims))
    checks.check_tcb(claims, policy, checklist, now=now)
    # 4
    if isinstance(quote, SgxQuote):
        raise WrongGeneration(
            Factor.TEE_PLATFORM_ALLOWED, "the quote is of an SGX enclave, not of a virtual machine"
        )
    checklist.holds(Factor.TEE_PLATFORM_ALLOWED, "an Intel TDX machine")
    check_report_data(quote.report_data, report_data, checklist)
    checks.check_lists(quote, claims, policy, checklist)
    return TdxProof(quote, claims)


def _form(quote: TdxQuote | SgxQuote) -> str:
    kind = "an SGX quote of version 3" if isinstance(quote, SgxQuote) else "a TDX quote of version"
    return kind if isinstance(quote, SgxQuote) else f"{kind} {quote.version}"


def _verify(
    raw: bytes,
    quote: TdxQuote | SgxQuote,
    collateral: Collateral | None,
    root: bytes,
    now: int,
) -> dcap.Claims:
    if collateral is None:
        raise CollateralMissing(Factor.INTEL_PCS_COLLATERAL, "the collateral is missing")
    checks.check_roots(quote.chain, collateral, root, now=now)
    return dcap.verify_quote(raw, collateral, root=root, now=now)


def _claims(quote: TdxQuote | SgxQuote, claims: dcap.Claims) -> dict[str, Any]:
    platform = {
        "tcb_status": claims.status,
        "advisory_ids": list(claims.advisory_ids),
        "tcb_evaluation": claims.eval_number,
        "fmspc": claims.fmspc,
        "ppid": claims.ppid,
        "platform_instance": claims.instance,
        "expires_at": claims.expires_at,
        "report_data": quote.report_data.hex(),
    }
    if isinstance(quote, SgxQuote):
        enclave = {"mr_enclave": quote.mr_enclave.hex(), "mr_signer": quote.mr_signer.hex()}
        return {"platform": "sgx", **platform, **enclave}
    registers = {f"rtmr{index}": register.hex() for index, register in enumerate(quote.rtmrs)}
    return {
        "platform": "tdx",
        "version": quote.version,
        **platform,
        "mr_td": quote.mr_td.hex(),
        "mr_seam": quote.mr_seam.hex(),
        "mr_config": quote.mr_config.hex(),
        **registers,
        "td_attributes": quote.td_attributes.hex(),
        "xfam": quote.xfam.hex(),
        "image_hash": image_hash(quote).hex(),
    }
