"""CPU of verifying evidence: a TDX quote, an SEV-SNP report, one GPU, and a worker known already.

`python -m benchmarks.attestation [--json FILE]`; the evidence is genuine (tests/fixtures/tee), its
collateral parsed beforehand as a directory's is. Medians.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import yardstick
from bombyx.attestation.checklist import judge
from bombyx.attestation.directory import Entry
from bombyx.attestation.nvidia.verify import verify_nvidia
from bombyx.attestation.platform_rules import NvidiaPolicy, SnpPolicy, TdxPolicy
from bombyx.attestation.raw_files import read_dcap, read_nvidia
from bombyx.attestation.snp.verify import SnpEvidence, verify_snp
from bombyx.attestation.tdx.verify import TdxEvidence, verify_tdx
from bombyx.client.directory import Verifier
from tests.bombyx.attestation import tee, world

REPEATS = 200
TARGETS = {"TDX quote": 2000, "SEV-SNP report": 2000, "one GPU": 5000, "known worker": 50}


def measure() -> list[dict[str, object]]:
    """Medians in microseconds."""
    known = _known_worker()
    cases: dict[str, Callable[[], object]] = {
        "TDX quote": _tdx(),
        "SEV-SNP report": _snp(),
        "one GPU": _gpu(),
        "known worker": known,
    }
    return [
        {"case": name, "us_cpu": _cpu(action), "unit": "verification"}
        for name, action in cases.items()
    ]


def _tdx() -> Callable[[], object]:
    evidence = TdxEvidence(tee.COCOON, read_dcap(tee.COLLATERAL))
    return lambda: judge(
        lambda checklist: verify_tdx(
            evidence,
            policy=TdxPolicy(),
            now=tee.MARCH_2026,
            report_data=None,
            checklist=checklist,
        )
    )


def _snp() -> Callable[[], object]:
    evidence = SnpEvidence(tee.MILAN, (tee.VCEK,))
    rules = SnpPolicy(generations=("milan",))
    return lambda: judge(
        lambda checklist: verify_snp(
            evidence, policy=rules, now=tee.JUNE_2026, report_data=None, checklist=checklist
        )
    )


def _gpu() -> Callable[[], object]:
    evidence = read_nvidia(tee.H100, None)
    return lambda: judge(
        lambda checklist: verify_nvidia(
            evidence, policy=NvidiaPolicy(), now=tee.JUNE_2026, checklist=checklist
        )
    )


def _known_worker() -> Callable[[], object]:
    it = world.HONEST
    entry = Entry(keyset=it.keyset, evidence=it.evidence, offers=[])
    verifier = Verifier(world.POLICY)
    return lambda: verifier.verify(entry, it.collateral, now=world.NOW)


def _cpu(action: Callable[[], object]) -> float:
    action()
    times = []
    for _ in range(REPEATS):
        start = time.process_time_ns()
        action()
        times.append(time.process_time_ns() - start)
    return round(statistics.median(times) / 1000, 1)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = [*measure(), yardstick.measure()]
    print(f"{'case':20} {'CPU us':>9} {'target':>8}  unit")
    for row in rows:
        target = TARGETS.get(str(row["case"]), "")
        print(f"{row['case']:20} {row['us_cpu']:>9} {target:>8}  {row['unit']}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
