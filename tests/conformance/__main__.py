"""`make conformance`: every suite and SDK against a running network, sealed and bare.

python -m tests.conformance [--only SUITE] [--json] [--write FILE]      exit code 1 on any failure
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bombyx.conformance.run import all_checks
from bombyx.conformance.view import checks_markdown
from tests.conformance.network import running
from tests.conformance.page import results_markdown, written
from tests.conformance.record import PASSED, SKIPPED, Ran
from tests.conformance.suites import SUITES


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for; 0 when nothing failed, 1 otherwise, 2 for a suite of no such name."""
    given = _parsed(arguments)
    suites = [one for one in SUITES if not given.only or one.name in given.only]
    console = Console(stderr=given.json)
    with tempfile.TemporaryDirectory(prefix="bombyx-conformance-") as folder:
        ran: list[Ran] = []
        with running(Path(folder)) as network:
            for suite in suites:
                for tier in network.tiers:
                    with console.status(f"{suite.name}, {tier}"):
                        ran.append(suite.run(network, tier))
                    _tell(console, ran[-1])
    console.print(_table(ran))
    if given.json:
        print(json.dumps({"suites": [one.document() for one in ran]}))  # noqa: T201 - the report
    if given.write:
        blocks = {"results": results_markdown(ran), "checks": checks_markdown(all_checks())}
        given.write.write_text(written(given.write.read_text(encoding="utf-8"), blocks))
    return 0 if ran and all(one.is_good for one in ran) else 1


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make conformance")
    names = [one.name for one in SUITES]
    parser.add_argument("--only", action="append", choices=names, help="a suite; repeatable")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--write", type=Path, help="put the results into this page")
    given = parser.parse_args(arguments)
    if given.write and given.only:
        parser.error("--write is for the results of all suites")
    return given


def _tell(console: Console, one: Ran) -> None:
    for case in one.failures:
        console.print(
            f"{one.suite}, {one.tier}: {case.name}: {case.said}", style="red", markup=False
        )


def _table(ran: Sequence[Ran]) -> Table:
    table = Table("suite", "version", "tier", "passed", "failed", "skipped", "seconds")
    for one in ran:
        style = "green" if one.is_good else "bold red"
        counts = (one.count(PASSED), len(one.failures), one.count(SKIPPED))
        numbers = (*map(str, counts), f"{one.seconds:.1f}")
        table.add_row(one.suite, one.version, one.tier, *numbers, style=style)
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
