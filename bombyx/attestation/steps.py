"""The named steps of a verification, in their fixed order (SPEC 17).

Every examination lists all of them, each with a result and a sentence, so that the command line,
the dashboard and the archive show the same list. `unknown` is no pass: a worker is refused unless
the unknown steps of its platform are exactly the documented ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Result(StrEnum):
    """What a step came to."""

    PASS = "pass"  # noqa: S105  (a result, not a password)
    FAIL = "fail"
    UNKNOWN = "unknown"


class StepName(StrEnum):
    """The steps in the order in which they are examined and shown."""

    KEYSET_FORM = "keyset_form"
    EVIDENCE_FORM = "evidence_form"
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
    GPU_EVIDENCE = "gpu_evidence"
    GPU_BINDING = "gpu_binding"
    MODEL_ALLOWED = "model_allowed"
    SEALING_KEY = "sealing_key"
    PHYSICAL_ATTACK_RESISTANCE = "physical_attack_resistance"


STEPS: Final[Mapping[StepName, str]] = MappingProxyType(
    {
        StepName.KEYSET_FORM: "The keyset is canonical, unexpired, lives at most 24 hours, and "
        "names the evidence's platform.",
        StepName.EVIDENCE_FORM: "The evidence is canonical and its base64 has one spelling.",
        StepName.PLATFORM_ALLOWED: "The policy names the platform and this version verifies it.",
        StepName.COLLATERAL_PRESENT: "The vendor's collateral is the one that the evidence names.",
        StepName.QUOTE_STRUCTURE: "The quote is of the platform's form, each length exact.",
        StepName.QUOTE_SIGNATURE: "A key of the platform signed the quote.",
        StepName.CERTIFICATE_CHAIN: "The platform's certificate leads to a pinned root.",
        StepName.COLLATERAL_CURRENT: "The collateral is signed by the vendor, of this platform, "
        "and within its dates.",
        StepName.TCB_STATUS: "The platform's patch level has a status that the policy accepts.",
        StepName.TCB_NOT_REVOKED: "Neither patch level nor certificates are revoked.",
        StepName.DEBUG_DISABLED: "No debugger can look in; no attribute is set that we do not "
        "know.",
        StepName.REPORT_DATA_BINDING: "The quote binds exactly this keyset and GPU evidence.",
        StepName.MEASUREMENT: "The measured image is on the policy's list.",
        StepName.PLATFORM_IDENTITY: "The physical machine is on the policy's list.",
        StepName.GPU_EVIDENCE: "Each GPU proves model, firmware and confidential mode.",
        StepName.GPU_BINDING: "The GPU evidence was made for this keyset.",
        StepName.MODEL_ALLOWED: "Weights and engine of each allowed model name are on the "
        "policy's list.",
        StepName.SEALING_KEY: "The keyset holds well-formed keys to seal to.",
        StepName.PHYSICAL_ATTACK_RESISTANCE: "Nobody taps the machine's memory bus; no evidence "
        "shows this.",
    }
)
"""What each step shows, in order."""

SIMULATED_UNKNOWN: Final = (
    StepName.PLATFORM_IDENTITY,
    StepName.GPU_EVIDENCE,
    StepName.GPU_BINDING,
    StepName.PHYSICAL_ATTACK_RESISTANCE,
)
"""Exactly the steps that stay unknown for a worker on the simulated platform."""


_ON_EVERY_MACHINE: Final = (
    StepName.PLATFORM_IDENTITY,
    StepName.GPU_EVIDENCE,
    StepName.GPU_BINDING,
    StepName.PHYSICAL_ATTACK_RESISTANCE,
)
_WITHOUT_COLLATERAL: Final = (StepName.COLLATERAL_PRESENT, StepName.COLLATERAL_CURRENT)
MAY_BE_UNKNOWN: Final[Mapping[str, frozenset[StepName]]] = MappingProxyType(
    {
        "simulated": frozenset(SIMULATED_UNKNOWN),
        "tdx": frozenset(_ON_EVERY_MACHINE),
        "sev-snp": frozenset((*_ON_EVERY_MACHINE, *_WITHOUT_COLLATERAL, StepName.TCB_NOT_REVOKED)),
        "vtpm": frozenset(
            (
                *_ON_EVERY_MACHINE,
                *_WITHOUT_COLLATERAL,
                StepName.TCB_STATUS,
                StepName.TCB_NOT_REVOKED,
                StepName.DEBUG_DISABLED,
            )
        ),
    }
)
"""The steps that a worker of a platform may leave unknown; where a policy asks, they fail."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of an examination; `detail` is a sentence for people, `code` a failure's own."""

    name: StepName
    result: Result
    detail: str
    code: str = ""
