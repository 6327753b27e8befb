"""A simulated machine, an honest offer of it, a policy that accepts it; tests change one thing."""

import base64
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from bombyx import canonical
from bombyx.attestation.binding import report_data
from bombyx.attestation.collateral import Collateral, collateral_digest
from bombyx.attestation.evidence import Evidence
from bombyx.attestation.keyset import HPKE_ALG, HpkeKey, Keyset, ModelRecord
from bombyx.attestation.policy import Policy, parse_policy
from bombyx.attestation.simulated import image_measurement
from bombyx.attestation.steps import Result, StepName
from bombyx.attestation.verify import Examination, examine
from bombyx.envelope.keys import SealingKey
from worker.attest.simulated_collateral import HONEST_VIEW, VendorView, mint_collateral
from worker.attest.simulated_platform import Body, SimulatedPlatform
from worker.attest.simulated_root import SimulatedRoot, root_sha256

NOW = 1_800_000_000
DAY = 24 * 3600
ROOT = SimulatedRoot.create(now=NOW)
PLATFORM = SimulatedPlatform.create(ROOT, now=NOW)
IMAGE = image_measurement("0.1.0")
SEALING_KEY = SealingKey.from_seeds(bytes(range(64)), bytes(range(32))).public_bytes


def pk_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


MODEL = ModelRecord(
    id="smol",
    weights="aa" * 32,
    engine="bb" * 32,
    bytes_factor=1,
    overhead=64,
    max_image_tokens=0,
    context=8192,
)
KEYSET = Keyset(
    v="bombyx/1",
    hpke=[HpkeKey(id="0a" * 16, alg=HPKE_ALG, pk=pk_text(SEALING_KEY))],
    receipt_key="01" * 32,
    link_key="02" * 32,
    not_after=NOW + 3600,
    boot="03" * 16,
    platform="simulated",
    models=[MODEL],
    payout="EQowner",
)


def policy_table(**changes: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "network": "local",
        "platforms": ["simulated"],
        "simulated": {
            "roots": [root_sha256(ROOT)],
            "mr_td": [IMAGE.hex()],
            "accepted_tcb": ["UpToDate"],
        },
        "models": {"smol": {"weights": ["aa" * 32], "engines": ["bb" * 32]}},
        **changes,
    }


def simulated_rules(**changes: Any) -> dict[str, Any]:
    rules: dict[str, Any] = policy_table()["simulated"]
    return rules | changes


POLICY = parse_policy(policy_table())


@dataclass(frozen=True)
class Offer:
    keyset: Keyset
    evidence: Evidence
    collateral: Collateral | None


def body(keyset: Keyset = KEYSET, **changes: Any) -> Body:
    honest = Body(image=IMAGE, report_data=report_data(canonical.digest(keyset), []))
    return replace(honest, **changes)


def evidence_of(quote: bytes, collateral: Collateral, **changes: Any) -> Evidence:
    evidence = Evidence(
        platform="simulated",
        quote=base64.b64encode(quote).decode(),
        gpus=[],
        collateral=collateral_digest(collateral),
    )
    return msgspec.structs.replace(evidence, **changes)


def offer(
    keyset: Keyset = KEYSET,
    *,
    platform: SimulatedPlatform = PLATFORM,
    view: VendorView = HONEST_VIEW,
    collateral: Collateral | None = None,
    **changes: Any,
) -> Offer:
    said = collateral or mint_collateral(platform, now=NOW, view=view)
    quote = platform.quote(body(keyset, **changes))
    return Offer(keyset, evidence_of(quote, said), said)


def examine_offer(it: Offer, *, policy: Policy = POLICY, now: int = NOW) -> Examination:
    return examine(it.keyset, it.evidence, it.collateral, policy=policy, now=now)


def failed(examination: Examination) -> list[StepName]:
    return [step.name for step in examination.steps if step.result is Result.FAIL]


def unknown(examination: Examination) -> tuple[StepName, ...]:
    return tuple(step.name for step in examination.steps if step.result is Result.UNKNOWN)


HONEST = offer()
COLLATERAL = mint_collateral(PLATFORM, now=NOW)
