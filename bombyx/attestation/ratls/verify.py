"""Which gateway may be told a request: from a connection to `VerifiedGateway` (SPEC 17.11).

`examine_gateway` lists every step with its result; `verify_gateway` is the same argument and gives
a `VerifiedGateway` or raises. Nothing else can make one. Pure: it is run inside the handshake, by a
shell that knows the connection and the clock.
"""

from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from types import MappingProxyType
from typing import Final

from msgspec import UNSET

from bombyx.attestation import checks
from bombyx.attestation.gateway_rules import GatewayRules, policy_of_gateways
from bombyx.attestation.machines import Machine, Shown, verify_machine
from bombyx.attestation.policy import SIMULATED, Policy, policy_hash
from bombyx.attestation.ratls.certificate import (
    PresentedCertificate,
    check_dates,
    read_certificate,
)
from bombyx.attestation.ratls.claims import GatewayClaims, parse_claims, ratls_report_data
from bombyx.attestation.ratls.steps import GatewayFinding, GatewayStep, may_be_unknown
from bombyx.attestation.roots import PINNED, Roots
from bombyx.attestation.simulated_machine import verify_simulated
from bombyx.attestation.steps import Result, StepName
from bombyx.errors import (
    EvidenceMalformed,
    EvidenceRefused,
    GatewayRefused,
    PlatformNotAllowed,
    TlsRefused,
)

TLS_VERSION: Final = "TLSv1.3"
_WITH_COLLATERAL: Final = "tdx"
_MAKER: Final = object()
_NOT_EXAMINED: Final = "not examined, since another step failed"
_BOUND: Final = "the quote names this certificate's key, gateway and dates"
_NO_WORD: Final = "the platform has no such word of its vendor"
_OPEN: Final[Mapping[GatewayStep, str]] = MappingProxyType(
    {
        GatewayStep.GATEWAY_PINNED: "the policy pins no gateway's key",
        GatewayStep.COLLATERAL_PRESENT: _NO_WORD,
        GatewayStep.COLLATERAL_CURRENT: _NO_WORD,
        GatewayStep.TCB_STATUS: _NO_WORD,
        GatewayStep.TCB_NOT_REVOKED: "no revocation list is at hand",
        GatewayStep.DEBUG_DISABLED: _NO_WORD,
        GatewayStep.PLATFORM_IDENTITY: "the policy lists no machines",
        GatewayStep.PHYSICAL_ATTACK_RESISTANCE: "no evidence can show that nobody taps the memory "
        "bus",
    }
)
"""Why a step stays unknown that nothing showed."""
_OPEN_SIMULATED: Final[Mapping[GatewayStep, str]] = MappingProxyType(
    {
        **_OPEN,
        GatewayStep.PLATFORM_IDENTITY: "simulated: no hardware stands behind the platform's id",
        GatewayStep.PHYSICAL_ATTACK_RESISTANCE: "no evidence can show that nobody taps the memory "
        "bus; a simulated machine's owner reads everything",
    }
)


@dataclass(frozen=True, slots=True)
class Presented:
    """What a handshake ended in: the peer's certificate (DER), and the kind of connection."""

    certificate: bytes
    tls_version: str
    is_resumed: bool


@dataclass(frozen=True, slots=True)
class _Proof:
    """What follows when every step holds; unix seconds."""

    gateway: str
    platform: str
    platform_id: str
    certificate: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class GatewayExamination:
    """All steps in their order, and whose evidence it is, as far as that was read."""

    findings: tuple[GatewayFinding, ...]
    gateway: str
    platform: str
    proof: _Proof | None

    @property
    def refusal(self) -> GatewayFinding | None:
        """The step for which the gateway is refused: failed, or unknown without leave."""
        allowed = may_be_unknown(self.platform)
        failed = [one for one in self.findings if one.result is Result.FAIL]
        left = [
            one for one in self.findings if one.result is Result.UNKNOWN and one.name not in allowed
        ]
        return next(iter(failed + left), None)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class VerifiedGateway:
    """A gateway whose evidence holds, over one connection; only `verify_gateway` makes one.

    `gateway` is its identity key in hex, `certificate` the SHA-256 of what it presented;
    `expires_at` (unix seconds) is the end of certificate or collateral, whichever is first.
    """

    gateway: str
    platform: str
    platform_id: str
    certificate: str
    expires_at: int
    findings: tuple[GatewayFinding, ...]
    policy_hash: str
    maker: InitVar[object]

    def __post_init__(self, maker: object) -> None:
        if maker is not _MAKER:
            raise TypeError("only verify_gateway makes a VerifiedGateway")

    def __repr__(self) -> str:
        return f"VerifiedGateway({self.platform}, {self.gateway[:16]}…)"


class _Record:
    """What has been shown so far, and by whom."""

    def __init__(self) -> None:
        self.gateway = ""
        self.platform = ""
        self._found: dict[GatewayStep, GatewayFinding] = {}

    def holds(self, name: GatewayStep, detail: str) -> None:
        self._found[name] = GatewayFinding(name, Result.PASS, detail)

    def note(self, name: StepName, detail: str) -> None:
        """A step of the machine's, which has no GPU."""
        step = GatewayStep(name.value)
        self.holds(step, _BOUND if step is GatewayStep.REPORT_DATA_BINDING else detail)

    def fails(self, refusal: EvidenceRefused) -> None:
        step = GatewayStep(str(refusal.step))
        self._found[step] = GatewayFinding(step, Result.FAIL, refusal.message, refusal.code)

    def listed(self, *, is_whole: bool) -> tuple[GatewayFinding, ...]:
        details = _OPEN_SIMULATED if self.platform == SIMULATED else _OPEN
        why = details if is_whole else {}
        return tuple(
            self._found.get(name)
            or GatewayFinding(name, Result.UNKNOWN, why.get(name, _NOT_EXAMINED))
            for name in GatewayStep
        )


def examine_gateway(
    presented: Presented, *, policy: Policy, now: int, roots: Roots = PINNED
) -> GatewayExamination:
    """Every step, in order; the first that fails ends the argument. `now` in unix seconds."""
    record = _Record()
    proof = None
    try:
        proof = _argue(record, presented, policy=policy, now=now, roots=roots)
    except EvidenceRefused as refusal:
        record.fails(refusal)
    findings = record.listed(is_whole=proof is not None)
    return GatewayExamination(findings, record.gateway, record.platform, proof)


def verify_gateway(
    presented: Presented, *, policy: Policy, now: int, roots: Roots = PINNED
) -> VerifiedGateway:
    """The gateway at the other end of a connection; raises `GatewayRefused` with all steps."""
    examination = examine_gateway(presented, policy=policy, now=now, roots=roots)
    refusal, proof = examination.refusal, examination.proof
    if refusal is not None or proof is None:
        why = f"{refusal.name}: {refusal.detail}" if refusal else "nothing was proved"
        raise GatewayRefused(why, steps=examination.findings)
    return VerifiedGateway(
        gateway=proof.gateway,
        platform=proof.platform,
        platform_id=proof.platform_id,
        certificate=proof.certificate,
        expires_at=proof.expires_at,
        findings=examination.findings,
        policy_hash=policy_hash(policy),
        maker=_MAKER,
    )


def _argue(
    record: _Record, presented: Presented, *, policy: Policy, now: int, roots: Roots
) -> _Proof:
    """Why a connection may be told a request; raises `EvidenceRefused` where it may not.

    1. The handshake was a whole one of TLS 1.3, so whoever is there holds the certificate's key.
    2. The certificate is alive, short-lived, signed by that key, and carries evidence.
    3. The evidence is a gateway's, and one that the policy pins, if it pins any.
    4. The policy allows gateways on such machines.
    5. The evidence proves a machine that runs an allowed image, and was made there for this key,
       gateway and dates. So the key never left that machine.
    """
    # 1
    _check_channel(presented)
    record.holds(GatewayStep.TLS_CHANNEL, f"{TLS_VERSION}, not resumed")
    # 2
    certificate = read_certificate(presented.certificate)
    record.holds(GatewayStep.TLS_CERTIFICATE, f"SHA-256 {certificate.sha256}")
    check_dates(certificate, now)
    record.holds(GatewayStep.TLS_DATES, f"expires in {certificate.not_after - now} s")
    # 3
    claims = parse_claims(certificate.evidence)
    record.gateway, record.platform = claims.gateway, claims.evidence.platform
    if claims.evidence.gpus:
        raise EvidenceMalformed(GatewayStep.EVIDENCE_FORM, "a gateway shows no GPUs")
    raw = checks.read_quote(claims.evidence)
    record.holds(GatewayStep.EVIDENCE_FORM, f"a quote of {len(raw)} bytes")
    _check_pin(record, claims, policy)
    # 4
    rules = _rules(policy)
    if claims.evidence.platform not in rules.platforms:
        raise PlatformNotAllowed(
            GatewayStep.PLATFORM_ALLOWED,
            f"the policy allows no gateway on `{claims.evidence.platform}`",
        )
    record.holds(GatewayStep.PLATFORM_ALLOWED, f"[gateway] names {claims.evidence.platform}")
    # 5
    judged = policy_of_gateways(policy, rules)
    machine = _prove_machine(record, raw, claims, certificate, policy=judged, now=now, roots=roots)
    ends = certificate.not_after if machine.expires_at is None else machine.expires_at
    return _Proof(
        gateway=claims.gateway,
        platform=claims.evidence.platform,
        platform_id=machine.platform_id,
        certificate=certificate.sha256,
        expires_at=min(certificate.not_after, ends),
    )


def _prove_machine(
    record: _Record,
    raw: bytes,
    claims: GatewayClaims,
    certificate: PresentedCertificate,
    *,
    policy: Policy,
    now: int,
    roots: Roots,
) -> Machine:
    collateral = None if claims.collateral is UNSET else claims.collateral
    expected = ratls_report_data(certificate.subject(claims.gateway))
    shown = Shown(raw, claims.evidence, collateral, b"", expected)
    if claims.evidence.platform == SIMULATED:
        return verify_simulated(shown, policy=policy, now=now, note=record.note)
    if claims.evidence.platform == _WITH_COLLATERAL:
        checks.present_collateral(collateral, claims.evidence)
        record.holds(GatewayStep.COLLATERAL_PRESENT, f"digest {claims.evidence.collateral}")
    return verify_machine(shown, policy=policy, roots=roots, now=now, note=record.note)


def _check_channel(presented: Presented) -> None:
    step = GatewayStep.TLS_CHANNEL
    if presented.tls_version != TLS_VERSION:
        raise TlsRefused(step, f"the connection is {presented.tls_version}, not {TLS_VERSION}")
    if presented.is_resumed:
        # Whoever resumes shows no certificate and proves no key.
        raise TlsRefused(step, "the connection was resumed, which proves nothing anew")


def _check_pin(record: _Record, claims: GatewayClaims, policy: Policy) -> None:
    if policy.gateways is None:
        return
    if not policy.allows_gateway(claims.gateway):
        raise EvidenceRefused(
            GatewayStep.GATEWAY_PINNED,
            f"the policy does not pin the gateway {claims.gateway[:16]}…",
        )
    record.holds(GatewayStep.GATEWAY_PINNED, f"the policy pins {claims.gateway[:16]}…")


def _rules(policy: Policy) -> GatewayRules:
    if policy.gateway is None:
        raise PlatformNotAllowed(
            GatewayStep.PLATFORM_ALLOWED, "the policy has no table [gateway], so no gateway passes"
        )
    return policy.gateway
