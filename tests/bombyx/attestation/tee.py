"""Genuine evidence of others (tests/fixtures/tee/README.md has source and licence of each file)."""

import json
from pathlib import Path
from typing import Any

from bombyx.attestation.checklist import Verdict
from bombyx.attestation.nvidia.reference import Reference
from bombyx.attestation.nvidia.rim import parse_rim
from bombyx.attestation.policy import Policy, parse_policy
from bombyx.attestation.raw import RawEvidence, examine_raw

FOLDER = Path(__file__).parents[2] / "fixtures" / "tee"
MARCH_2026, JUNE_2026, JULY_2026 = 1_772_323_200, 1_780_272_000, 1_784_073_600
JUNE_2025 = 1_748_736_000
SGX_TIME = 1_750_416_971
QUOTE_BYTES = 4940
"""Of Cocoon's file; zeros follow."""


def file(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


def document(name: str) -> Any:
    return json.loads(file(name))


def policy(**tables: Any) -> Policy:
    return parse_policy({"version": 1, "network": "mainnet", **tables})


DEFAULT = policy()
ALL_GENERATIONS = policy(snp={"generations": ["milan", "genoa", "turin"]})


def examine(
    kind: str, data: bytes, now: int, *, rules: Policy = ALL_GENERATIONS, **more: Any
) -> Verdict:
    def read_reference(rim: bytes) -> Reference:
        return parse_rim(rim, now=now)

    said = more.pop("collateral", None)
    files = said if isinstance(said, list) else [one for one in (said,) if one is not None]
    raw = RawEvidence(kind=kind, data=data, collateral=files, **more)
    return examine_raw(raw, policy=rules, now=now, read_reference=read_reference)


COLLATERAL = file("tdx/tdx_quote_outdated_collateral.json")
COCOON = file("tdx/cocoon_quote_v4.dat")
MILAN, VCEK = file("snp/milan_report.bin"), file("snp/milan_vcek.der")
H100 = file("nvidia/hopper_evidence.json")


def tdx(data: bytes = COCOON, now: int = MARCH_2026, **more: Any) -> Verdict:
    return examine("tdx", data, now, **{"collateral": COLLATERAL, **more})


def snp(data: bytes = MILAN, now: int = JUNE_2026, **more: Any) -> Verdict:
    return examine("snp", data, now, **{"certificates": [VCEK], **more})


def nvidia(data: bytes = H100, now: int = JUNE_2026, **more: Any) -> Verdict:
    return examine("nvidia", data, now, **more)


def code(verdict: Verdict) -> str:
    return "" if verdict.refusal is None else verdict.refusal.code
