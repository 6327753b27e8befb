"""Outcomes for people: a table on a terminal, and the same as Markdown."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from bombyx.conformance.record import Check, Outcome, Result

STYLES = {Result.PASS: "green", Result.FAIL: "bold red", Result.SKIP: "yellow"}


def report(url: str, model: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What `--json` prints."""
    counts = Counter(one.result for one in outcomes)
    return {
        "url": url,
        "model": model,
        "passed": counts[Result.PASS],
        "failed": counts[Result.FAIL],
        "skipped": counts[Result.SKIP],
        "checks": [one.document() for one in outcomes],
    }


def outcomes_table(outcomes: Sequence[Outcome]) -> Table:
    """A row for each check, and the sums as caption."""
    counts = Counter(one.result for one in outcomes)
    sums = ", ".join(f"{counts[result]} {result.value}" for result in Result)
    table = Table("area", "check", "", "seen", caption=sums)
    before = ""
    for one in outcomes:
        area = one.check.area if one.check.area != before else ""
        before = one.check.area
        result = Text(one.result.value, style=STYLES[one.result])
        table.add_row(area, one.check.name, result, Text(_seen(one)))
    return table


def checks_table(checks: Sequence[Check]) -> Table:
    """What `--list` shows."""
    table = Table("area", "check", "rule")
    for one in checks:
        table.add_row(one.area, one.name, Text(one.rule))
    return table


def checks_markdown(checks: Sequence[Check]) -> str:
    """The table of all checks that the documentation holds."""
    lines = ["| check | area | rule | rests on |", "|---|---|---|---|"]
    lines += [f"| `{one.name}` | {one.area} | {one.rule} | {one.rests_on} |" for one in checks]
    return "\n".join(lines) + "\n"


def _seen(one: Outcome) -> str:
    """What was seen; of a failure also the rule and where it is written."""
    if one.result is not Result.FAIL:
        return one.said
    return f"{one.said}\n{one.check.rule}: {one.check.place}"
