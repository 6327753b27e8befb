"""Checks of one value against a list of a policy, the same for every platform (SPEC 17.3)."""

from bombyx.attestation.checklist import Checklist
from bombyx.attestation.factors import Factor
from bombyx.attestation.platform_rules import Listed
from bombyx.errors import EvidenceRefused, MeasurementRefused


def check_listed(
    checklist: Checklist,
    factor: Factor,
    values: dict[str, tuple[str, Listed]],
    *,
    refusal: type[EvidenceRefused] = MeasurementRefused,
) -> None:
    """Each value (hex, by its name) is on its list; unknown stays what has no list."""
    asked = {name: pair for name, pair in values.items() if pair[1] is not None}
    for name, (value, allowed) in asked.items():
        if value not in (allowed or ()):
            raise refusal(factor, f"{name} {value[:16]}… is not on the policy's list")
    unasked = ", ".join(name for name in values if name not in asked)
    if asked and not unasked:
        checklist.holds(factor, f"{', '.join(asked)}: on the policy's list")
    elif asked:
        checklist.open(factor, f"{', '.join(asked)}: on the policy's list; nobody asked: {unasked}")
