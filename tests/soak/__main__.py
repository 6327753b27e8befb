"""`python -m tests.soak --minutes 15`: a link cut every 5 s; prints what grew, what was billed.

Exit 0 when memory stayed within 5 %, no descriptor leaked and every receipt was billed of which
the gateway had seen a byte. What was lost before that is the worker's own loss (SPEC 16), counted.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

from tests.soak.soak import SoakPlan, soak


def main() -> int:
    """Run one soak."""
    given = _arguments()
    plan = SoakPlan(seconds=given.minutes * 60, cut_every=given.cut_every, clients=given.clients)
    with tempfile.TemporaryDirectory(prefix="bombyx-soak-") as temporary:
        folder = given.keep or Path(temporary)
        os.environ["BOMBYX_STATE"] = str(folder / "client")
        report = asyncio.run(soak(folder / "site", plan))
    shown = report.document()
    if given.json:
        sys.stdout.write(json.dumps(shown) + "\n")
    else:
        sys.stdout.write("".join(f"{name:32} {json.dumps(one)}\n" for name, one in shown.items()))
    return 1 if report.complaints() else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--cut-every", type=float, default=5.0, help="seconds between two cuts")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--keep", type=Path, help="a new folder for state and logs, kept")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
