"""What the suites report, whichever it was: cases by name, each passed, failed or skipped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

PASSED, FAILED, SKIPPED = "pass", "fail", "skip"

_NO_PAGES = "the sidecar refuses web pages on purpose"
_NAMED_SO = "the suite tries it only with models whose name is like {}, and a thinking one"
EXPLAINED = {
    ("llm-comply openai-chat", "chat-reasoning-summary"): _NAMED_SO.format("gpt-5"),
    ("llm-comply open-responses", "reasoning-summary"): _NAMED_SO.format("gpt-5"),
    ("llm-comply anthropic", "anth-thinking-display"): _NAMED_SO.format("claude-sonnet-4"),
    ("bombyx conformance", "a_preflight_allows_what_the_sdk_sends"): _NO_PAGES,
    ("bombyx conformance", "a_page_may_read_what_it_needs"): _NO_PAGES,
}
"""Skips that are right here, by suite and case, and why; any other counts as a failure."""
SEALED_ONLY = frozenset({"a_preflight_allows_what_the_sdk_sends", "a_page_may_read_what_it_needs"})


@dataclass(frozen=True, slots=True)
class Case:
    """One test of a suite."""

    name: str
    result: str
    said: str = ""


@dataclass(frozen=True, slots=True)
class Ran:
    """A suite that was run against one tier."""

    suite: str
    version: str
    tier: str
    cases: Sequence[Case]
    seconds: float

    @property
    def failures(self) -> list[Case]:
        """What failed, and what was skipped without a reason that is known here."""
        return [one for one in self.cases if one.result == FAILED or self._is_unexplained(one)]

    @property
    def is_good(self) -> bool:
        """Whether something was tried and nothing failed."""
        return bool(self.cases) and not self.failures

    def count(self, result: str) -> int:
        """How many cases ended so."""
        return sum(one.result == result for one in self.cases)

    def document(self) -> dict[str, Any]:
        """One entry of the report."""
        return {
            "suite": self.suite,
            "version": self.version,
            "tier": self.tier,
            "passed": self.count(PASSED),
            "failed": len(self.failures),
            "skipped": self.count(SKIPPED),
            "seconds": round(self.seconds, 1),
            "cases": [{"name": c.name, "result": c.result, "said": c.said} for c in self.cases],
        }

    def _is_unexplained(self, one: Case) -> bool:
        if one.result != SKIPPED:
            return False
        is_known = (self.suite, one.name) in EXPLAINED
        return not is_known or (one.name in SEALED_ONLY and self.tier != "sealed")
