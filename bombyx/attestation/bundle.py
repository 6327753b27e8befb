"""One decision about a worker, with all that it was made from, in one file (SPEC 17.12).

A verification is a function of documents, policy and time: whoever has them comes to the same
decision, for years. So nobody signs a bundle. Its digest says that it is whole; that the machine
was what it says is shown by its vendor's signatures, examined anew.
"""

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from bombyx import canonical
from bombyx.attestation.collateral import Collateral, collateral_digest
from bombyx.attestation.directory import MAX_VENDOR_NAMES, VendorName
from bombyx.attestation.evidence import Evidence
from bombyx.attestation.keyset import Keyset, keyset_digest
from bombyx.attestation.policy import Policy, parse_policy, policy_hash, render_policy
from bombyx.attestation.roots import PINNED, Roots
from bombyx.attestation.steps import Result, Step, StepName
from bombyx.attestation.vendor import MAX_DOCUMENT_BYTES
from bombyx.attestation.verify import Conclusion, Examination, examine
from bombyx.attestation.wanted import read_documents
from bombyx.canonical import Document
from bombyx.errors import (
    BundleAltered,
    BundleMalformed,
    BundleMismatch,
    BundleTooLarge,
    DecisionNotReproduced,
    NotCanonical,
    PolicyError,
)
from bombyx.units import Count, Hex32

MAX_BUNDLE_BYTES: Final = 8 * 2**20
"""Collateral with two long revocation lists has 2 MiB, a policy of many images 1 MiB."""
MAX_POLICY_TEXT: Final = 2**20
_MAX_DETAIL: Final = 4096

_VendorText = Annotated[str, Meta(max_length=MAX_DOCUMENT_BYTES)]
_Vendor = Annotated[dict[VendorName, _VendorText], Meta(max_length=MAX_VENDOR_NAMES)]


class DecidedStep(Document, frozen=True):
    """One line of the examination, as it was told; `code` where it failed."""

    name: StepName
    result: Result
    detail: Annotated[str, Meta(max_length=_MAX_DETAIL)]
    code: Annotated[str, Meta(min_length=1, max_length=64)] | UnsetType = UNSET


class Cited(Document, frozen=True):
    """A vendor's document by name (SPEC 17.10) and by the SHA-256 of its canonical form."""

    name: VendorName
    digest: Hex32


class Decision(Document, frozen=True):
    """What was decided about a worker at a time (unix seconds), and from which documents."""

    v: Literal["bombyx-decision/1"]
    at: Count
    worker: Hex32
    evidence: Hex32
    vendor: Annotated[list[Cited], Meta(max_length=MAX_VENDOR_NAMES)]
    policy: Hex32
    accepted: bool
    expires_at: Count
    platform_id: Annotated[str, Meta(max_length=128)]
    steps: Annotated[list[DecidedStep], Meta(max_length=64)]
    collateral: Hex32 | UnsetType = UNSET


class Bundle(Document, frozen=True):
    """A decision and its documents; `policy` is TOML in its one spelling."""

    v: Literal["bombyx-bundle/1"]
    decision: Decision
    keyset: Keyset
    evidence: Evidence
    policy: Annotated[str, Meta(max_length=MAX_POLICY_TEXT)]
    vendor: _Vendor
    collateral: Collateral | UnsetType = UNSET


class BundleFile(Document, frozen=True):
    """A bundle as it is exported, with the SHA-256 of its canonical form: its name."""

    bundle: Bundle
    digest: Hex32


@dataclass(frozen=True, slots=True)
class Case:
    """What a decision is made from; `vendor` has texts by name, `at` is unix seconds."""

    keyset: Keyset
    evidence: Evidence
    collateral: Collateral | None
    vendor: Mapping[str, str]
    policy: Policy
    at: int

    def examine(self, roots: Roots = PINNED) -> Examination:
        """Every step, as on that day."""
        return examine(
            self.keyset,
            self.evidence,
            self.collateral,
            policy=self.policy,
            now=self.at,
            roots=roots,
            vendor=read_documents(self.vendor),
        )


def make_bundle(case: Case, steps: Sequence[Step], conclusion: Conclusion | None) -> Bundle:
    """A case with what it came to; `conclusion` is None for a worker that was refused."""
    named = UNSET if case.collateral is None else collateral_digest(case.collateral)
    decision = Decision(
        v="bombyx-decision/1",
        at=case.at,
        worker=keyset_digest(case.keyset),
        evidence=canonical.digest(case.evidence).hex(),
        vendor=[Cited(name=name, digest=text_digest(case.vendor[name])) for name in _names(case)],
        policy=policy_hash(case.policy),
        accepted=conclusion is not None,
        expires_at=0 if conclusion is None else conclusion.expires_at,
        platform_id="" if conclusion is None else conclusion.platform_id,
        steps=[_decided(step) for step in steps],
        collateral=named,
    )
    return Bundle(
        v="bombyx-bundle/1",
        decision=decision,
        keyset=case.keyset,
        evidence=case.evidence,
        policy=render_policy(case.policy),
        vendor={name: case.vendor[name] for name in _names(case)},
        collateral=UNSET if case.collateral is None else case.collateral,
    )


def decide(case: Case, roots: Roots = PINNED) -> tuple[Examination, Bundle]:
    """Examine a case, and bundle what it came to."""
    examination = case.examine(roots)
    conclusion = examination.conclusion if examination.refusal is None else None
    return examination, make_bundle(case, examination.steps, conclusion)


def write_bundle(bundle: Bundle) -> bytes:
    """The file: canonical, so that equal decisions are equal files."""
    return canonical.encode(BundleFile(bundle=bundle, digest=canonical.digest(bundle).hex()))


def read_bundle(data: bytes) -> Bundle:
    """A bundle that is whole and about its own documents; judges nothing of what they say.

    Raises `BundleTooLarge`, `BundleMalformed`, `BundleAltered` or `BundleMismatch`.
    """
    if len(data) > MAX_BUNDLE_BYTES:
        raise BundleTooLarge("the bundle is longer than 8 MiB")
    try:
        file = canonical.decode(data, BundleFile)
    except (NotCanonical, ValueError) as error:
        raise BundleMalformed(f"this is no bundle of evidence: {error}") from None
    if canonical.digest(file.bundle).hex() != file.digest:
        raise BundleAltered("the bundle is not what its digest says: it was changed")
    _check_cited(file.bundle)
    return file.bundle


def case_of(bundle: Bundle) -> Case:
    """What the bundle's decision was made from; raises `BundleMalformed` for a bad policy."""
    try:
        policy = parse_policy(tomllib.loads(bundle.policy))
    except (tomllib.TOMLDecodeError, PolicyError, RecursionError) as error:
        raise BundleMalformed(f"the bundle's policy cannot be read: {error}") from None
    collateral = bundle.collateral if isinstance(bundle.collateral, Collateral) else None
    at = bundle.decision.at
    return Case(bundle.keyset, bundle.evidence, collateral, bundle.vendor, policy, at)


def recheck(bundle: Bundle, roots: Roots = PINNED) -> Examination:
    """Examine the documents anew, offline, at the time of the decision.

    Raises `DecisionNotReproduced` where that comes to anything else than the decision says. The
    sentences of steps may differ, since software learns to speak; their results may not.
    """
    examination, found = decide(case_of(bundle), roots)
    said, now = _results(bundle.decision), _results(found.decision)
    if said != now or _outcome(bundle.decision) != _outcome(found.decision):
        other = sorted(str(one[0]) for one in set(now) - set(said))
        where = f" at {', '.join(other)}" if other else ""
        raise DecisionNotReproduced(f"the documents lead to another decision{where}")
    return examination


def subject_of(decision: Decision) -> str:
    """Hex digest of what was judged by what: the same whenever it is judged."""
    fields = {
        "worker": decision.worker,
        "evidence": decision.evidence,
        "collateral": decision.collateral if isinstance(decision.collateral, str) else "",
        "vendor": decision.vendor,
        "policy": decision.policy,
    }
    return canonical.digest(fields).hex()


def text_digest(text: str) -> str:
    """Hex SHA-256 of a document's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _names(case: Case) -> list[str]:
    return sorted(case.vendor)


def _decided(step: Step) -> DecidedStep:
    return DecidedStep(
        name=step.name,
        result=step.result,
        detail=step.detail[:_MAX_DETAIL],
        code=step.code or UNSET,
    )


def _results(decision: Decision) -> list[tuple[StepName, Result, str]]:
    return [(one.name, one.result, one.code or "") for one in decision.steps]


def _outcome(decision: Decision) -> tuple[bool, int, str]:
    return decision.accepted, decision.expires_at, decision.platform_id


def _check_cited(bundle: Bundle) -> None:
    """Each document is the one that the decision names."""
    decision, case = bundle.decision, case_of(bundle)
    cited = make_bundle(case, (), None).decision
    if render_policy(case.policy) != bundle.policy:
        raise BundleMalformed("the bundle's policy is not in its one spelling")
    for what, said, found in (
        ("keyset", decision.worker, cited.worker),
        ("evidence", decision.evidence, cited.evidence),
        ("collateral", decision.collateral, cited.collateral),
        ("vendor's document", decision.vendor, cited.vendor),
        ("policy", decision.policy, cited.policy),
    ):
        if said != found:
            raise BundleMismatch(f"the decision is about another {what} than the bundle's")
