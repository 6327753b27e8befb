"""The named steps by which a gateway's certificate is judged, in their fixed order (SPEC 17.11).

Those of the machine have the names that they have for workers; a gateway has no keyset, no models
and no GPU, but a channel and a certificate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from bombyx.attestation.steps import MAY_BE_UNKNOWN, Result


class GatewayStep(StrEnum):
    """The steps in the order in which they are examined and shown."""

    TLS_CHANNEL = "tls_channel"
    TLS_CERTIFICATE = "tls_certificate"
    TLS_DATES = "tls_dates"
    EVIDENCE_FORM = "evidence_form"
    GATEWAY_PINNED = "gateway_pinned"
    PLATFORM_ALLOWED = "platform_allowed"
    COLLATERAL_PRESENT = "collateral_present"
    QUOTE_STRUCTURE = "quote_structure"
    QUOTE_SIGNATURE = "quote_signature"
    CERTIFICATE_CHAIN = "certificate_chain"
    COLLATERAL_CURRENT = "collateral_current"
    TCB_STATUS = "tcb_status"
    TCB_NOT_REVOKED = "tcb_not_revoked"
    DEBUG_DISABLED = "debug_disabled"
    REPORT_DATA_BINDING = "report_data_binding"
    MEASUREMENT = "measurement"
    PLATFORM_IDENTITY = "platform_identity"
    PHYSICAL_ATTACK_RESISTANCE = "physical_attack_resistance"


GATEWAY_STEPS: Final[Mapping[GatewayStep, str]] = MappingProxyType(
    {
        GatewayStep.TLS_CHANNEL: "The connection is TLS 1.3 and was not resumed.",
        GatewayStep.TLS_CERTIFICATE: "The certificate is one of version 3 with one key of P-256 or "
        "Ed25519, signed by that key, and carries evidence.",
        GatewayStep.TLS_DATES: "It lives now, and for at most 24 hours.",
        GatewayStep.EVIDENCE_FORM: "What it carries is canonical, for a gateway, without GPUs.",
        GatewayStep.GATEWAY_PINNED: "The gateway's identity key is one that the policy pins.",
        GatewayStep.PLATFORM_ALLOWED: "The policy's `[gateway]` names the platform and this "
        "version verifies it.",
        GatewayStep.COLLATERAL_PRESENT: "The vendor's collateral is the one that the evidence "
        "names.",
        GatewayStep.QUOTE_STRUCTURE: "The quote is of the platform's form, each length exact.",
        GatewayStep.QUOTE_SIGNATURE: "A key of the platform signed the quote.",
        GatewayStep.CERTIFICATE_CHAIN: "The platform's certificate leads to a pinned root.",
        GatewayStep.COLLATERAL_CURRENT: "The collateral is signed by the vendor, of this platform, "
        "and within its dates.",
        GatewayStep.TCB_STATUS: "The platform's patch level has a status that the policy accepts.",
        GatewayStep.TCB_NOT_REVOKED: "Neither patch level nor certificates are revoked.",
        GatewayStep.DEBUG_DISABLED: "No debugger can look in; no attribute is set that we do not "
        "know.",
        GatewayStep.REPORT_DATA_BINDING: "The quote binds exactly this key, gateway and dates.",
        GatewayStep.MEASUREMENT: "The gateway's image is on the list of `[gateway]`.",
        GatewayStep.PLATFORM_IDENTITY: "The physical machine is on the policy's list.",
        GatewayStep.PHYSICAL_ATTACK_RESISTANCE: "Nobody taps the machine's memory bus; no evidence "
        "shows this.",
    }
)
"""What each step shows, in order."""

_NO_PIN: Final = frozenset((GatewayStep.GATEWAY_PINNED,))


def may_be_unknown(platform: str) -> frozenset[GatewayStep]:
    """The steps that a platform may leave unknown: a worker's, and the pin where there is none.

    Of a platform that nobody knows none may.
    """
    steps = MAY_BE_UNKNOWN.get(platform)
    if steps is None:
        return frozenset()
    names = set(GatewayStep)
    return _NO_PIN | {GatewayStep(step.value) for step in steps if step.value in names}


@dataclass(frozen=True, slots=True)
class GatewayFinding:
    """One line of an examination; `detail` is a sentence for people, `code` a failure's own."""

    name: GatewayStep
    result: Result
    detail: str
    code: str = ""
