"""Who may be sealed to: the argument from evidence to `VerifiedWorker` (SPEC 17, 13.5).

`examine` lists every step with its result; `verify_worker` is the same argument and gives a
`VerifiedWorker` or raises. Nothing else can make one, and only one can be sealed to. Pure: the
clock and the policy are arguments, collateral is fetched by others.
"""

from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from types import MappingProxyType
from typing import Final

from bombyx import canonical
from bombyx.attestation import checks
from bombyx.attestation.binding import report_data
from bombyx.attestation.collateral import Collateral
from bombyx.attestation.evidence import Evidence
from bombyx.attestation.keyset import Keyset, ModelRecord
from bombyx.attestation.machines import Shown, verify_machine
from bombyx.attestation.policy import SIMULATED, Policy, policy_hash
from bombyx.attestation.roots import PINNED, Roots
from bombyx.attestation.simulated_machine import verify_simulated
from bombyx.attestation.steps import MAY_BE_UNKNOWN, Result, Step, StepName
from bombyx.attestation.wanted import VendorDocuments
from bombyx.errors import EvidenceRefused, ModelNotFound, WorkerRefused

_WITH_COLLATERAL: Final = "tdx"
NOT_AT_HAND: Final[VendorDocuments] = MappingProxyType({})
_MAKER: Final = object()
_NOT_EXAMINED = "not examined, since another step failed"


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What follows when every step holds; unix seconds, hex PPID."""

    expires_at: int
    platform_id: str
    models: tuple[ModelRecord, ...]
    sealing_keys: tuple[bytes, ...]


_NOTHING: Final = Conclusion(expires_at=0, platform_id="", models=(), sealing_keys=())


@dataclass(frozen=True, slots=True)
class Examination:
    """All steps in their order, and what follows from them (nothing, if one failed).

    `platform` decides which steps may stay unknown: one that nobody knows may leave none open.
    """

    steps: tuple[Step, ...]
    conclusion: Conclusion
    platform: str = SIMULATED

    @property
    def refusal(self) -> Step | None:
        """The step for which the worker is refused: a failed one, or one unknown without leave."""
        allowed = MAY_BE_UNKNOWN.get(self.platform, frozenset())
        failed = [step for step in self.steps if step.result is Result.FAIL]
        open_steps = [
            step
            for step in self.steps
            if step.result is Result.UNKNOWN and step.name not in allowed
        ]
        return next(iter(failed + open_steps), None)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class VerifiedWorker:
    """A worker whose evidence holds under a policy; only `verify_worker` makes one.

    `expires_at` (unix seconds) is the end of keyset or collateral, whichever is first.
    """

    keyset: Keyset
    worker_id_bytes: bytes
    steps: tuple[Step, ...]
    policy_hash: str
    conclusion: Conclusion
    maker: InitVar[object]

    def __post_init__(self, maker: object) -> None:
        if maker is not _MAKER:
            raise TypeError("only verify_worker makes a VerifiedWorker")

    def __repr__(self) -> str:
        return f"VerifiedWorker({self.platform}, {self.worker_id[:16]}…)"

    @property
    def worker_id(self) -> str:
        """The keyset's digest in hex: the worker's name everywhere."""
        return self.worker_id_bytes.hex()

    @property
    def platform(self) -> str:
        """The kind of hardware, or `simulated`."""
        return self.keyset.platform

    @property
    def platform_id(self) -> str:
        """The machine's id in hex, as its vendor certified it (PPID)."""
        return self.conclusion.platform_id

    @property
    def expires_at(self) -> int:
        """Unix seconds from which on the worker must be verified anew."""
        return self.conclusion.expires_at

    @property
    def models(self) -> tuple[ModelRecord, ...]:
        """The models that it serves and the policy allows."""
        return self.conclusion.models

    def model(self, name: str) -> ModelRecord:
        """The attested record of a model; raises `ModelNotFound`."""
        for record in self.models:
            if record.id == name:
                return record
        raise ModelNotFound(f"the verified worker serves no model {name} that the policy allows")

    def hpke_key(self) -> tuple[str, bytes]:
        """Id and 1216 bytes of the key to seal to: the keyset's first."""
        return self.keyset.hpke[0].id, self.conclusion.sealing_keys[0]


class _Record:
    """What has been shown so far."""

    def __init__(self) -> None:
        self._steps: dict[str, Step] = {}

    def holds(self, name: StepName, detail: str) -> None:
        self._steps[name] = Step(name, Result.PASS, detail)

    def unknown(self, details: Mapping[StepName, str]) -> None:
        for name, detail in details.items():
            self._steps[name] = Step(name, Result.UNKNOWN, detail)

    def left_open(self, details: Mapping[StepName, str]) -> None:
        """Say why steps are unknown that nothing showed."""
        self.unknown({name: why for name, why in details.items() if name not in self._steps})

    def fails(self, refusal: EvidenceRefused) -> None:
        name = StepName(refusal.step)
        self._steps[name] = Step(name, Result.FAIL, refusal.message, refusal.code)

    def listed(self) -> tuple[Step, ...]:
        return tuple(
            self._steps.get(name, Step(name, Result.UNKNOWN, _NOT_EXAMINED)) for name in StepName
        )


_SIMULATED_DETAILS: Final = {
    StepName.PLATFORM_IDENTITY: "simulated: no hardware stands behind the platform's id",
    StepName.GPU_EVIDENCE: "simulated: there is no GPU that could prove itself",
    StepName.GPU_BINDING: "simulated: there is no GPU evidence to bind",
    StepName.PHYSICAL_ATTACK_RESISTANCE: "no evidence can show that nobody taps the memory bus; "
    "a simulated machine's owner reads everything",
}


_NO_LIST: Final = "the policy lists no machines"
_NO_GPU: Final = "there is no GPU evidence, and the policy asks for none"
_NO_WORD: Final = "the platform has no such word of its vendor"
_REAL_DETAILS: Final = {
    StepName.PLATFORM_IDENTITY: _NO_LIST,
    StepName.GPU_EVIDENCE: _NO_GPU,
    StepName.GPU_BINDING: _NO_GPU,
    StepName.COLLATERAL_PRESENT: _NO_WORD,
    StepName.COLLATERAL_CURRENT: _NO_WORD,
    StepName.TCB_NOT_REVOKED: "no revocation list is at hand",
    StepName.TCB_STATUS: _NO_WORD,
    StepName.DEBUG_DISABLED: _NO_WORD,
    StepName.PHYSICAL_ATTACK_RESISTANCE: "no evidence can show that nobody taps the memory bus",
}
"""Why a step of a real machine stays unknown that nothing showed."""


def examine(
    keyset: Keyset,
    evidence: Evidence,
    collateral: Collateral | None,
    *,
    policy: Policy,
    now: int,
    roots: Roots = PINNED,
    vendor: VendorDocuments = NOT_AT_HAND,
) -> Examination:
    """Every step, in order; the first that fails ends the argument. `now` in unix seconds.

    `vendor` has what vendors say beside the collateral, by name: revocation lists, references.
    """
    record = _Record()
    try:
        conclusion = _argue(
            record,
            keyset,
            evidence,
            collateral,
            policy=policy,
            roots=roots,
            now=now,
            vendor=vendor,
        )
    except EvidenceRefused as refusal:
        record.fails(refusal)
        conclusion = _NOTHING
    return Examination(record.listed(), conclusion, keyset.platform)


def verify_worker(
    keyset: Keyset,
    evidence: Evidence,
    collateral: Collateral | None,
    *,
    policy: Policy,
    now: int,
    roots: Roots = PINNED,
    vendor: VendorDocuments = NOT_AT_HAND,
) -> VerifiedWorker:
    """The worker that these documents prove; raises `WorkerRefused` with all steps."""
    examination = examine(
        keyset, evidence, collateral, policy=policy, now=now, roots=roots, vendor=vendor
    )
    refusal = examination.refusal
    if refusal is not None:
        raise WorkerRefused(f"{refusal.name}: {refusal.detail}", steps=examination.steps)
    return VerifiedWorker(
        keyset=keyset,
        worker_id_bytes=canonical.digest(keyset),
        steps=examination.steps,
        policy_hash=policy_hash(policy),
        conclusion=examination.conclusion,
        maker=_MAKER,
    )


def _argue(
    record: _Record,
    keyset: Keyset,
    evidence: Evidence,
    collateral: Collateral | None,
    *,
    policy: Policy,
    roots: Roots,
    now: int,
    vendor: VendorDocuments,
) -> Conclusion:
    """Why a worker may be trusted with a prompt; raises `EvidenceRefused` where it may not.

    1. Somebody offers a keyset, alive now and for at most 24 hours, with evidence for it.
    2. The policy allows the evidence's kind of platform.
    3. The evidence is a whole quote with its vendor's collateral.
    4. The vendor's root, pinned by the policy, vouches for the key that signed the quote, for the
       patch level behind it, and has revoked neither.
    5. No debugger can look into the machine that the quote describes.
    6. The quote was made for this keyset, so the machine holds the keys.
    7. The machine runs an allowed image, and that image measured allowed models.
    8. The keys can be sealed to. What nothing shows is said to be unknown.
    """
    # 1
    checks.check_keyset(keyset, evidence, now)
    record.holds(StepName.KEYSET_FORM, f"expires in {keyset.not_after - now} s")
    raw = checks.read_quote(evidence)
    record.holds(StepName.EVIDENCE_FORM, f"a quote of {len(raw)} bytes")
    # 2
    checks.check_platform(keyset.platform, policy)
    record.holds(StepName.PLATFORM_ALLOWED, f"the policy names {keyset.platform}")
    # 3 to 7
    digest = canonical.digest(keyset)
    bound = report_data(digest, evidence.gpus)
    shown = Shown(raw, evidence, collateral, digest, bound, vendor)
    if keyset.platform == SIMULATED:
        machine = verify_simulated(shown, policy=policy, now=now, note=record.holds)
        record.unknown(_SIMULATED_DETAILS)
    else:
        if evidence.platform == _WITH_COLLATERAL:
            checks.present_collateral(collateral, evidence)
            record.holds(StepName.COLLATERAL_PRESENT, f"digest {evidence.collateral}")
        machine = verify_machine(shown, policy=policy, roots=roots, now=now, note=record.holds)
        record.left_open(_REAL_DETAILS)
    models = checks.allowed_models(keyset, policy)
    record.holds(StepName.MODEL_ALLOWED, ", ".join(model.id for model in models))
    # 8
    keys = tuple(checks.sealing_key(key) for key in keyset.hpke)
    record.holds(StepName.SEALING_KEY, f"{keyset.hpke[0].alg}, key {keyset.hpke[0].id}")
    ends = keyset.not_after if machine.expires_at is None else machine.expires_at
    return Conclusion(
        expires_at=min(keyset.not_after, ends),
        platform_id=machine.platform_id,
        models=models,
        sealing_keys=keys,
    )
