"""The machine behind simulated evidence: the real argument under a root of its own (SPEC 17.1).

The twin of `machines.verify_machine` for the one platform without hardware.
"""

from collections.abc import Callable

from bombyx.attestation import checks, dcap
from bombyx.attestation.machines import Machine, Shown
from bombyx.attestation.policy import Policy
from bombyx.attestation.steps import StepName
from bombyx.attestation.tdx_quote import parse_quote


def verify_simulated(
    shown: Shown, *, policy: Policy, now: int, note: Callable[[StepName, str], None]
) -> Machine:
    """The machine that the evidence proves; each step that holds is noted.

    Raises `EvidenceRefused` with the step that does not. `now` in unix seconds.
    """
    collateral = checks.present_collateral(shown.collateral, shown.evidence)
    note(StepName.COLLATERAL_PRESENT, f"digest {shown.evidence.collateral}")
    quote = parse_quote(shown.raw)
    checks.check_declared_simulated(quote)
    note(StepName.QUOTE_STRUCTURE, "a TDX quote of version 4 that calls itself SIMULATED")
    root = checks.pinned_root(quote, collateral, policy)
    claims = dcap.verify_quote(shown.raw, collateral, root=root, now=now)
    note(StepName.QUOTE_SIGNATURE, "signed by the platform's quoting enclave")
    note(StepName.CERTIFICATE_CHAIN, "leads to the simulated root that the policy pins")
    note(StepName.COLLATERAL_CURRENT, f"current for {claims.expires_at - now} s")
    note(StepName.TCB_NOT_REVOKED, "neither patch level nor certificates are revoked")
    checks.check_tcb(claims, policy)
    note(StepName.TCB_STATUS, claims.status)
    checks.check_attributes(quote)
    note(StepName.DEBUG_DISABLED, "no debugger, no unknown attribute")
    checks.check_binding(quote, shown.report_data)
    note(StepName.REPORT_DATA_BINDING, "the quote names this keyset's digest")
    checks.check_measurement(quote, policy)
    note(StepName.MEASUREMENT, f"MRTD {quote.mr_td.hex()[:16]}… is allowed")
    checks.check_no_gpus(shown.evidence)
    return Machine(claims.ppid, claims.expires_at)
