"""The checks behind a TDX quote's factors: one each, refusing with a sentence (SPEC 17.4)."""

from functools import lru_cache
from typing import Final

from bombyx.attestation.certificates import Certificate
from bombyx.attestation.chains import Blame, check_dates, link_chain
from bombyx.attestation.checklist import Checklist
from bombyx.attestation.cocoon import image_hash
from bombyx.attestation.collateral import Collateral
from bombyx.attestation.dcap import Claims
from bombyx.attestation.factors import Factor
from bombyx.attestation.listing import check_listed
from bombyx.attestation.pem import split_certificates
from bombyx.attestation.platform_rules import SEPT_VE_DISABLE, TdxPolicy
from bombyx.attestation.tdx_quote import TdxQuote
from bombyx.errors import (
    AttributesRefused,
    CollateralChain,
    CollateralExpired,
    CollateralFromFuture,
    CollateralMalformed,
    DebugEnabled,
    PlatformNotListed,
    TcbRefused,
    UnknownRoot,
)

_DEBUG = 0xFF
"""The first eight attributes are Intel's TUD group: with any of them the host may look in."""
_BLAME: Final = Blame(
    Factor.INTEL_PCS_COLLATERAL,
    "the collateral's chain",
    broken=CollateralChain,
    root=CollateralChain,
    expired=CollateralExpired,
    early=CollateralFromFuture,
)


def check_attributes(quote: TdxQuote, policy: TdxPolicy, checklist: Checklist) -> None:
    """No debugger, a production TDX module, and no attribute or CPU feature beyond the allowed."""
    attributes = int.from_bytes(quote.td_attributes, "little")
    if attributes & _DEBUG:
        raise DebugEnabled(
            Factor.TEE_DEBUG_DISABLED, "a debugger can read the virtual machine (TD attributes)"
        )
    checklist.holds(Factor.TEE_DEBUG_DISABLED, "the TD attributes allow no debugger")
    factor = Factor.TEE_ATTRIBUTES
    if not attributes & SEPT_VE_DISABLE:
        raise AttributesRefused(factor, "SEPT_VE_DISABLE is off")
    if any(quote.seam[96:]) or any(quote.mr_service_td):
        raise AttributesRefused(factor, "the TDX module is no production one, or serves another TD")
    excess = attributes & ~policy.td_attributes
    if excess:
        raise AttributesRefused(factor, f"TD attributes {excess:#x} are set, and not allowed")
    excess = int.from_bytes(quote.xfam, "little") & ~policy.xfam
    if excess:
        raise AttributesRefused(factor, f"CPU features {excess:#x} are on, and not allowed")
    checklist.holds(factor, "no attribute and no CPU feature beyond the allowed ones")


def check_roots(chain: tuple[bytes, ...], collateral: Collateral, root: bytes, *, now: int) -> None:
    """Quote and collateral end in Intel's root, each in the one spelling of certificates.

    The library trusts its own copy of the root, and never looks at these or at who the collateral
    says issued its revocation lists: without this check many files would be accepted for one.
    """
    if chain[-1] != root:
        raise UnknownRoot(Factor.TEE_CERT_CHAIN, "the quote does not end in Intel's root")
    for one in _issuers(collateral.pck_crl_issuer_chain, root):
        check_dates(one.not_before, one.not_after, now=now, blame=_BLAME)
    # The library verifies who these are.
    for text in (collateral.tcb_info_issuer_chain, collateral.qe_identity_issuer_chain):
        if _split(text)[-1] != root:
            raise CollateralChain(
                Factor.INTEL_PCS_COLLATERAL, "the collateral does not end in Intel's root"
            )


@lru_cache(maxsize=16)
def _issuers(text: str, root: bytes) -> tuple[Certificate, ...]:
    """Who issued the revocation lists: the same for all machines of a kind, for years."""
    return link_chain(_split(text), root, _BLAME)


def _split(text: str) -> list[bytes]:
    try:
        return split_certificates(text.encode())
    except ValueError as error:
        raise CollateralMalformed(
            Factor.INTEL_PCS_COLLATERAL, f"the collateral's chain: {error}"
        ) from None


def check_tcb(claims: Claims, policy: TdxPolicy, checklist: Checklist, *, now: int) -> None:
    """The patch level's status, advisories, evaluation and age are what the policy accepts."""
    factor = Factor.TEE_TCB_CURRENT
    advisories = ", ".join(claims.advisory_ids) or "none"
    stated = f"{claims.status} (advisories: {advisories})"
    if claims.status not in policy.accepted_tcb:
        raise TcbRefused(factor, f"the patch level is {stated}, not accepted")
    rejected = sorted(set(claims.advisory_ids) & set(policy.rejected_advisories))
    if rejected:
        raise TcbRefused(factor, f"the policy rejects the advisory {rejected[0]}")
    if claims.eval_number < policy.min_evaluation:
        raise TcbRefused(
            factor,
            f"the vendor's evaluation is number {claims.eval_number}, below the policy's least",
        )
    since = claims.out_of_date_since
    if since is not None and now > since + policy.grace_seconds:
        raise TcbRefused(factor, f"the patch level is {stated}, beyond the policy's grace")
    checklist.holds(factor, stated)


def check_lists(quote: TdxQuote, claims: Claims, policy: TdxPolicy, checklist: Checklist) -> None:
    """What runs, and on which machine."""
    rtmr0, rtmr1, rtmr2, rtmr3 = (register.hex() for register in quote.rtmrs)
    images = {
        "MRTD": (quote.mr_td.hex(), policy.mr_td),
        "image": (image_hash(quote).hex(), policy.images),
        "MRSEAM": (quote.mr_seam.hex(), policy.mr_seam),
    }
    # Each of them names an image by itself.
    asked = {name: pair for name, pair in images.items() if pair[1] is not None}
    check_listed(checklist, Factor.TEE_MEASUREMENT, asked)
    hardware = {"RTMR0": (rtmr0, policy.rtmr0)}
    check_listed(checklist, Factor.TEE_HARDWARE_CONFIG, hardware)
    boot = {"RTMR1": (rtmr1, policy.rtmr1), "RTMR2": (rtmr2, policy.rtmr2)}
    check_listed(checklist, Factor.TEE_BOOT_CONFIG, boot)
    application = {
        "RTMR3": (rtmr3, policy.rtmr3),
        "MRCONFIG": (quote.mr_config.hex(), policy.mr_config),
    }
    check_listed(checklist, Factor.COMPOSE_BINDING, application)
    if policy.images is not None:
        for factor in (Factor.TEE_HARDWARE_CONFIG, Factor.TEE_BOOT_CONFIG, Factor.COMPOSE_BINDING):
            checklist.holds(factor, "part of the listed image")
    _check_machine(claims, policy, checklist)


def _check_machine(claims: Claims, policy: TdxPolicy, checklist: Checklist) -> None:
    if policy.platforms is None:
        return
    if claims.ppid not in policy.platforms and claims.instance not in policy.platforms:
        raise PlatformNotListed(Factor.CPU_ID_REGISTRY, "the machine is not on the policy's list")
    checklist.holds(Factor.CPU_ID_REGISTRY, "the machine is on the policy's list")
