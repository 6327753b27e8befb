"""One thing that `bombyx doctor` looks at, and what it found."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Result(StrEnum):
    """Unknown is what could not be looked at, or does not matter on this machine."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """A sentence, and for what is not right the way out; `required` ones decide the exit code."""

    name: str
    result: Result
    detail: str
    fix: str = ""
    required: bool = True

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "result": str(self.result)}


def passed(name: str, detail: str, *, required: bool = True) -> Check:
    """It is right."""
    return Check(name, Result.PASS, detail, required=required)


def failed(name: str, detail: str, *, fix: str, required: bool = True) -> Check:
    """It is wrong, and `fix` is a line that mends it."""
    return Check(name, Result.FAIL, detail, fix, required)


def unknown(name: str, detail: str, *, fix: str = "", required: bool = False) -> Check:
    """Nobody can tell."""
    return Check(name, Result.UNKNOWN, detail, fix, required)


def is_well(checks: list[Check]) -> bool:
    """Whether every required check passed; one that could not be made did not."""
    return all(check.result is Result.PASS for check in checks if check.required)
