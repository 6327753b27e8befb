"""Bundles of evidence on disk: checked again offline, written by `bombyx verify` (SPEC 17.12)."""

from pathlib import Path
from typing import Any

from bombyx.attestation.bundle import (
    MAX_BUNDLE_BYTES,
    Bundle,
    Case,
    case_of,
    make_bundle,
    read_bundle,
    recheck,
    write_bundle,
)
from bombyx.attestation.policy import Policy
from bombyx.attestation.verify import Examination
from bombyx.errors import SetupError, WorkerRefused


def check_bundle(path: Path, own: Policy | None) -> tuple[Bundle, Examination, Examination | None]:
    """A bundle, its decision reproduced, and what one's own policy says on that day.

    Raises `BundleError` where it does not hold, `SetupError` where it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BUNDLE_BYTES + 1)
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}") from None
    bundle = read_bundle(data)
    return bundle, recheck(bundle), None if own is None else _under(case_of(bundle), own)


def _under(case: Case, policy: Policy) -> Examination:
    parts = (case.keyset, case.evidence, case.collateral, case.vendor)
    return Case(*parts, policy, case.at).examine()


def refusal_of(bundle: Bundle, own: Examination | None) -> WorkerRefused | None:
    """Why the bundle's worker may not be sealed to, by its own decision or by one's own policy."""
    if own is not None and own.refusal is not None:
        step = own.refusal
        return WorkerRefused(f"your policy refuses it: {step.name}: {step.detail}", steps=own.steps)
    if not bundle.decision.accepted:
        return WorkerRefused("the decision was to refuse the worker, and it is reproduced")
    return None


def describe_bundle(bundle: Bundle) -> dict[str, Any]:
    """What the decision says of itself, as JSON."""
    decision = bundle.decision
    return {
        "worker": decision.worker,
        "platform": bundle.keyset.platform,
        "at": decision.at,
        "policy": decision.policy,
        "accepted": decision.accepted,
        "expires_at": decision.expires_at,
        "reproduced": True,
    }


def save_bundle(folder: Path, case: Case, found: Examination) -> Path:
    """Write a decision of one's own, named by its worker; raises `SetupError`."""
    conclusion = found.conclusion if found.refusal is None else None
    bundle = make_bundle(case, found.steps, conclusion)
    file = folder / f"{bundle.decision.worker}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_bytes(write_bundle(bundle))
    except OSError as error:
        raise SetupError(f"{file} cannot be written: {error.strerror}") from None
    return file
