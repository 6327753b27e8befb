"""`make bench`: a table for people, `--json FILE` for machines.

python -m benchmarks [--rounds 3] [--json FILE] [--only client|relay|worker]

The last row is the yardstick: divide by it to compare runs of different hours or machines.
"""

import argparse
import json
import platform
import sys
from pathlib import Path

from benchmarks import client_seal, relay, worker_token, yardstick

TARGETS = {
    "client seals 4 KB to 3 candidates": 600,
    "sealed request, one frame": 220,
    "sealed stream, per token": 33,
    "worker, per token besides the engine": 60,
}


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=["client", "relay", "worker"])
    arguments = parser.parse_args()
    rows: list[dict[str, object]] = []
    if arguments.only in (None, "client"):
        rows += client_seal.measure()
    if arguments.only in (None, "relay"):
        for case in relay.CASES:
            print(f"measuring: {case.name} …", file=sys.stderr)
            rows.append(relay.measure(case, rounds=arguments.rounds))
    if arguments.only in (None, "worker"):
        print("measuring: worker …", file=sys.stderr)
        rows.append(worker_token.measure(rounds=arguments.rounds))
    rows.append(yardstick.measure())
    print(f"{'case':40} {'CPU us':>9} {'target':>8}  unit")
    for row in rows:
        target = TARGETS.get(str(row["case"]), "")
        print(f"{row['case']:40} {row['us_cpu']:>9} {target:>8}  {row['unit']}")
    if arguments.json:
        machine = {"python": platform.python_version(), "machine": platform.machine()}
        arguments.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
