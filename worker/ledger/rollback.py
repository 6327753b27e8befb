"""Whether a journal is an old copy of itself (SPEC 21). Pure.

A counter in hardware and a number in the journal go up together, at each start and each orderly
end: first the journal's, then the hardware's, so that a cut between them leaves the journal ahead
by one. A journal that is behind was put back.
"""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["none", "noticed", "unknown"]


@dataclass(frozen=True, slots=True)
class Rollback:
    """`verdict`: `none` was noticed, one was `noticed`, or nothing here can tell: `unknown`."""

    verdict: Verdict
    reason: str


def judge(*, kept: int | None, counted: int | None) -> Rollback:
    """`kept` is the journal's number, None in a new one; `counted` the hardware's, if there is.

    That a new journal may be new, the sealing has already seen.
    """
    if counted is None:
        return Rollback("unknown", "this platform has no counter that a copy could not set back")
    if kept is None:
        return Rollback("none", "the journal is new")
    if kept < counted:
        return Rollback(
            "noticed",
            f"the journal is an old copy: it was opened or closed {counted - kept} times since",
        )
    if kept > counted + 1:
        return Rollback("noticed", "the counter is behind the journal: it is not the journal's own")
    return Rollback("none", "the journal is as new as the machine's counter")
