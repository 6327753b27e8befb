"""The results as Markdown, and a page with them between its markers."""

import platform
from collections.abc import Mapping, Sequence

from tests.conformance.record import EXPLAINED, PASSED, SKIPPED, Ran


def results_markdown(ran: Sequence[Ran]) -> str:
    """A row for each suite and tier, and why something was skipped."""
    lines = ["| suite | version | tier | passed | failed | skipped |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {one.suite} | {one.version} | {one.tier} | {one.count(PASSED)} | "
        f"{len(one.failures)} | {one.count(SKIPPED)} |"
        for one in ran
    ]
    skipped = {
        f"* `{case.name}` of {one.suite}, {one.tier}: {EXPLAINED[one.suite, case.name]}."
        for one in ran
        for case in one.cases
        if case.result == SKIPPED and (one.suite, case.name) in EXPLAINED
    }
    why = ["", "Skipped:", "", *sorted(skipped)] if skipped else []
    where = f"Python {platform.python_version()} on {platform.system()}."
    return "\n".join([*lines, *why, "", where]) + "\n"


def written(page: str, blocks: Mapping[str, str]) -> str:
    """The page with each block between `<!-- NAME -->` and `<!-- /NAME -->` put in anew.

    Raises `ValueError` where a marker is missing.
    """
    for name, text in blocks.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found, rest = page.partition(begin)
        _, ended, after = rest.partition(end)
        if not (found and ended) or begin in rest:
            raise ValueError(f"the page has no single block called {name}")
        page = before + begin + text + end + after
    return page
