"""`make bench`: a table for people, `--json FILE` for machines.

python -m benchmarks [--rounds 3] [--json FILE] [--only CASE]

The last row is the yardstick: divide by it to compare runs of different hours or machines. `turns`
are of one that ran on the gateway's CPU in the same seconds: they repeat to some 5 %.
"""

import argparse
import json
import platform
import sys
from pathlib import Path
from sysconfig import get_config_var

from benchmarks import (
    acceptance,
    client_answer,
    client_seal,
    client_stream,
    engine_overhead,
    gateways,
    leakage,
    relay,
    vouchers,
    worker_token,
    yardstick,
)
from benchmarks.simulator import report

TARGETS = {
    "client seals 4 KB to 3 candidates": 600,
    "worker opens it": 250,
    "client opens an answer, with receipt": 250,
    "stream frame, bucket: seal + open": 6,
    "stream frame, exact: seal + open": 6,
    "sealed request, one frame": 220,
    "sealed stream, per token": 33,
    "voucher, digest and signature": 83,
    "voucher, header to books, no database": 83,
    "a channel adds to a request": 150,
    "worker, per token besides the engine": 60,
    "two processes against one": 1.15,
}


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    kinds = ["client", "relay", "gateways", "worker", "leakage", "routing", "engine"]
    parser.add_argument("--only", choices=kinds)
    arguments = parser.parse_args()
    machine = {
        "python": platform.python_version(),
        "profile_guided": "--enable-optimizations" in (get_config_var("CONFIG_ARGS") or ""),
        "machine": platform.machine(),
    }
    told: dict[str, object] = {"machine": machine}
    if arguments.only not in ("leakage", "routing", "engine"):
        told["rows"] = _costs(arguments.only, rounds=arguments.rounds)
    if arguments.only in (None, "leakage"):
        print("measuring: leakage …", file=sys.stderr)
        told["leakage"] = rows = leakage.measure()
        leakage.show(rows)
    if arguments.only in (None, "routing"):
        told["routing"] = routing = report.measure()
        report.show(routing)
    if arguments.only in (None, "engine"):
        told["engine"] = engines = engine_overhead.measure()
        engine_overhead.show(engines)
    if arguments.json:
        arguments.json.write_text(json.dumps(told, indent=2))
    return 0


def _costs(only: str | None, *, rounds: int) -> list[dict[str, object]]:
    """The table of CPU time."""
    rows: list[dict[str, object]] = []
    if only in (None, "client"):
        rows += client_seal.measure() + client_answer.measure() + client_stream.measure()
        rows += vouchers.measure() + acceptance.measure(rounds=rounds)
    if only in (None, "relay"):
        for case in relay.CASES:
            print(f"measuring: {case.name} …", file=sys.stderr)
            rows.append(relay.measure(case, rounds=rounds))
    if only in (None, "gateways"):
        print("measuring: one gateway process and two …", file=sys.stderr)
        rows += gateways.measure(rounds=rounds)
    if only in (None, "worker"):
        print("measuring: worker …", file=sys.stderr)
        rows.append(worker_token.measure(rounds=rounds))
    rows.append(yardstick.measure())
    print(f"{'case':40} {'CPU us':>9} {'target':>8} {'turns':>8}  unit")
    for row in rows:
        target, turns = TARGETS.get(str(row["case"]), ""), row.get("turns", "")
        print(f"{row['case']:40} {row['us_cpu']:>9} {target:>8} {turns:>8}  {row['unit']}")
    return rows


if __name__ == "__main__":
    sys.exit(main())
