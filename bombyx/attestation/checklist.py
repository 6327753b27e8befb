"""The list of factors of one piece of evidence while it is examined (SPEC 17.4).

A verifier notes what holds, and raises `EvidenceRefused` with a factor as its step where something
does not. What it does not note is `unknown`: nothing passes because nobody looked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bombyx.attestation.factors import UNASKED, Factor
from bombyx.attestation.steps import Result
from bombyx.errors import EvidenceRefused

_NOT_EXAMINED: Final = "not examined, since something else was refused"
_NOT_OF_THIS: Final = "this kind of evidence has nothing of it"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a verdict; `detail` is a sentence for people."""

    name: Factor
    result: Result
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a piece of evidence; `claims` holds only what its signatures cover."""

    findings: tuple[Finding, ...]
    claims: Mapping[str, Any]
    refusal: EvidenceRefused | None

    @property
    def ok(self) -> bool:
        """Whether nothing was refused."""
        return self.refusal is None


class Checklist:
    """Collects what is found; `claims` may be added once a signature over them holds."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}
        self._found: dict[Factor, Finding] = {}

    def holds(self, name: Factor, detail: str) -> None:
        """Something that was asked for is so."""
        self._found[name] = Finding(name, Result.PASS, detail)

    def open(self, name: Factor, detail: str) -> None:
        """Something is left unknown, for a reason of its own."""
        self._found[name] = Finding(name, Result.UNKNOWN, detail)

    def verdict(self, refusal: EvidenceRefused | None) -> Verdict:
        """All factors in order, the refused one with its cause."""
        if refusal is not None:
            failed = Factor(refusal.step)
            self._found[failed] = Finding(failed, Result.FAIL, refusal.message)
        findings = tuple(self._found.get(name) or _open(name, refusal) for name in Factor)
        return Verdict(findings, dict(self.claims), refusal)


def _open(name: Factor, refusal: EvidenceRefused | None) -> Finding:
    why = UNASKED.get(name, _NOT_OF_THIS)
    return Finding(name, Result.UNKNOWN, why if refusal is None else _NOT_EXAMINED)


def judge(argue: Callable[[Checklist], object]) -> Verdict:
    """The verdict of one argument: its findings, and what it was refused for, if anything."""
    checklist = Checklist()
    try:
        argue(checklist)
    except EvidenceRefused as refusal:
        return checklist.verdict(refusal)
    return checklist.verdict(None)
