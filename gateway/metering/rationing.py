"""How much of a key's limits a process is lent (SPEC 5.7). Pure; both stores execute the plan.

The store has locked the key's limits and read what all processes hold of them. At any time a limit
is at least what is held plus, of the budget, what was spent and, of requests at once, those that
outlived their process's loan: so it holds whatever is killed.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.metering.port import GRANT_FACTOR, grant_size
from gateway.metering.rows import KINDS, Amounts, Rationed

REQUESTS, TOKENS, SLOTS, NANO = range(len(KINDS))
MS_PER_MINUTE = 60_000
MS_PER_DAY = 86_400_000
_EPOCH = dt.date(1970, 1, 1)


def month_start(now_ms: int) -> int:
    """The first day of the month (UTC), in days since 1970."""
    day = _EPOCH + dt.timedelta(days=now_ms // MS_PER_DAY)
    return (day.replace(day=1) - _EPOCH).days


@dataclass(frozen=True, slots=True)
class Asked:
    """Who needs how much; `now_ms` by the database's clock."""

    slot: int
    epoch: int
    needs: Amounts
    processes: int
    now_ms: int

    @property
    def minute(self) -> int:
        """Minutes since 1970: the term of requests and tokens."""
        return self.now_ms // MS_PER_MINUTE

    @property
    def ends_in_ms(self) -> int:
        """Until the minute is over."""
        return MS_PER_MINUTE - self.now_ms % MS_PER_MINUTE

    @property
    def month_day(self) -> int:
        """The first day of the month."""
        return month_start(self.now_ms)


@dataclass(frozen=True, slots=True)
class RationPlan:
    """(kind, term, amount) to be added, whether others must return theirs, and the answer."""

    grants: Sequence[tuple[str, int, int]]
    recall: bool
    answer: Rationed


def unlimited(asked: Asked) -> Rationed:
    """The key has no limits any more."""
    return Rationed(asked.needs, (0, 0, 0, 0), (0, 0, 0, 0), asked.minute, asked.ends_in_ms)


def plan_ration(
    asked: Asked,
    limits: Sequence[int | None],
    held: Iterable[tuple[str, int, int]],
    *,
    strays: int,
    spent: int,
) -> RationPlan:
    """Decide on all kinds at once; `held` is (kind, slot, granted) of terms that are not over.

    `strays` run at once and `spent` nano are used up outside of any loan.
    """
    everywhere, elsewhere = [0, 0, strays, spent], [0, 0, 0, 0]
    for kind, slot, granted in held:
        everywhere[KINDS.index(kind)] += granted
        if slot != asked.slot:
            elsewhere[KINDS.index(kind)] += granted
    left = [
        (limit - everywhere[kind]) if limit is not None else 0 for kind, limit in enumerate(limits)
    ]
    short = [
        kind
        for kind, need in enumerate(asked.needs)
        if limits[kind] is not None and need > left[kind]
    ]
    if short:
        recall = any(elsewhere[kind] for kind in short)
        return RationPlan((), recall, _answer(asked, None, left, elsewhere))
    amounts = [
        need if limits[kind] is None else _size(kind, need, left[kind], asked.processes)
        for kind, need in enumerate(asked.needs)
    ]
    grants = [
        (KINDS[kind], asked.epoch if kind in {SLOTS, NANO} else asked.minute, amount)
        for kind, amount in enumerate(amounts)
        if amount and limits[kind] is not None
    ]
    rest = [left[kind] - amount for kind, amount in enumerate(amounts)]
    return RationPlan(grants, recall=False, answer=_answer(asked, amounts, rest, elsewhere))


def _size(kind: int, need: int, left: int, processes: int) -> int:
    """A generous part, so that most requests ask nobody; less and less as the rest shrinks.

    What is lent of a minute goes back by itself, so it may be half of a process's share.
    """
    if need <= 0:
        return 0
    if kind == NANO:
        return grant_size(need, left, processes)
    generous = left // (2 * max(processes, 1))
    if kind == SLOTS:
        generous = min(generous, GRANT_FACTOR * need)
    return max(need, generous)


def _answer(
    asked: Asked, granted: Sequence[int] | None, left: Sequence[int], elsewhere: Sequence[int]
) -> Rationed:
    return Rationed(
        None if granted is None else _four(granted),
        _four(left),
        _four(elsewhere),
        asked.minute,
        asked.ends_in_ms,
    )


def _four(values: Sequence[int]) -> Amounts:
    requests, tokens, slots, nano = values
    return requests, tokens, slots, nano
