"""What `make conformance` takes for a failure, and the page that it writes."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.network import Running
from tests.conformance.page import results_markdown, written
from tests.conformance.record import EXPLAINED, FAILED, PASSED, SKIPPED, Case, Ran
from tests.conformance.suites import SUITES, Suite

NETWORK = Running("m", {"bare": "http://127.0.0.1:1/v1"}, "k", "n", "p")
OWN = "bombyx conformance"
PREFLIGHT = "a_preflight_allows_what_the_sdk_sends"
PAGE = Path(__file__).parents[2] / "docs/conformance.md"


def ran(*cases: Case, suite: str = OWN, tier: str = "sealed") -> Ran:
    return Ran(suite, "1", tier, cases, 0.5)


def says(text: str) -> Callable[[Running, str], Sequence[str]]:
    return lambda _network, _url: ["echo", text]


def cases_of(report: Any) -> tuple[str, list[Case]]:
    return "1", [Case(*case) for case in report["cases"]]


def test_a_suite_is_good_when_something_passed_and_nothing_failed() -> None:
    assert ran(Case("a", PASSED)).is_good
    assert not ran(Case("a", PASSED), Case("b", FAILED)).is_good
    assert not ran().is_good


def test_what_is_skipped_needs_a_reason_that_is_known() -> None:
    assert not ran(Case("a", PASSED), Case("embeddings", SKIPPED)).is_good
    assert ran(Case("a", PASSED), Case(PREFLIGHT, SKIPPED)).is_good
    assert not ran(Case("a", PASSED), Case(PREFLIGHT, SKIPPED), tier="bare").is_good


def test_a_suite_that_says_nothing_has_failed() -> None:
    for text in ("", "'no JSON'", "{}"):
        assert not Suite("broken", says(text), cases_of).run(NETWORK, "bare").is_good
    absent = Suite("absent", lambda _network, _url: ["no-such-command"], lambda _: ("1", []))
    assert [case.result for case in absent.run(NETWORK, "bare").cases] == [FAILED]


def test_a_suite_gets_address_model_and_key() -> None:
    report = json.dumps({"cases": [["a", "pass"]]})
    suite = Suite("echo", says(report), cases_of)
    assert suite.run(NETWORK, "bare").is_good
    for one in SUITES:
        command = list(one.command(NETWORK, "http://127.0.0.1:1/v1"))
        assert "http://127.0.0.1:1/v1" in command
        assert "m" in command


def test_the_page_is_written_between_its_marks() -> None:
    page = "# A\n<!-- results -->\nold\n<!-- /results -->\nrest\n"
    assert written(page, {"results": "new\n"}) == page.replace("old", "new")
    with pytest.raises(ValueError, match="no single block called other"):
        written(page, {"other": ""})


def test_the_page_says_why_something_was_skipped() -> None:
    text = results_markdown([ran(Case("a", PASSED), Case(PREFLIGHT, SKIPPED))])
    assert f"| {OWN} | 1 | sealed | 1 | 0 | 1 |" in text
    assert EXPLAINED[OWN, PREFLIGHT] in text


def test_the_page_of_this_repository_shows_every_suite_without_a_failure() -> None:
    block = PAGE.read_text(encoding="utf-8").partition("<!-- results -->")[2]
    rows = [line.split(" | ") for line in block.partition("\n\n")[0].splitlines()[3:]]
    assert {row[0].strip("| ") for row in rows} == {one.name for one in SUITES}
    assert {row[4] for row in rows} == {"0"}
