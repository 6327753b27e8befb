"""What a check is, how it ends, and the list of all of them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bombyx.conformance.server import Server

DOCUMENTATION = "https://platform.openai.com/docs/"
"""Where a check rests on a path without a name before it, such as `api-reference/chat/object`."""


class Result(StrEnum):
    """How a check ended; `skip` means that the server says properly that it lacks the feature."""

    PASS = "pass"  # noqa: S105 - a result, not a password
    FAIL = "fail"
    SKIP = "skip"


Run = Callable[[Server], Awaitable[str]]
"""Returns what was seen, as a sentence without a full stop; raises `Wrong` or `Lacks`."""


@dataclass(frozen=True, slots=True)
class Check:
    """One rule: its name, its area, the rule as a sentence, where it is written, what tries it."""

    name: str
    area: str
    rule: str
    rests_on: str
    run: Run

    @property
    def place(self) -> str:
        """Where the rule is written: OpenAI's page, or another document by its name."""
        return self.rests_on if " " in self.rests_on else DOCUMENTATION + self.rests_on


@dataclass(frozen=True, slots=True)
class Outcome:
    """A check that was run; `said` is one sentence."""

    check: Check
    result: Result
    said: str
    seconds: float

    def document(self) -> dict[str, Any]:
        """One entry of the report."""
        return {
            "name": self.check.name,
            "area": self.check.area,
            "rule": self.check.rule,
            "rests_on": self.check.place,
            "result": self.result.value,
            "said": self.said,
            "ms": round(self.seconds * 1000),
        }


class Catalogue:
    """Checks by name, in the order of their making."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}

    def add(self, check: Check) -> None:
        """Add one; raises `ValueError` for a name that is taken."""
        if check.name in self._checks:
            raise ValueError(f"two checks are called {check.name}")
        self._checks[check.name] = check

    def all(self) -> list[Check]:
        """Every check."""
        return list(self._checks.values())


CATALOGUE = Catalogue()


def check(area: str, rests_on: str) -> Callable[[Run], Run]:
    """Declare a coroutine a check: its name and first line of documentation are the check's."""

    def declare(run: Run) -> Run:
        rule = (run.__doc__ or "").strip().partition("\n")[0].rstrip(".")
        CATALOGUE.add(Check(run.__name__, area, rule, rests_on, run))
        return run

    return declare
