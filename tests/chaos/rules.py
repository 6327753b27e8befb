"""The rules that a storm of failovers must leave whole, each with what broke it (SPEC 6, 14)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bombyx import errors
from tests.chaos.audit import Books
from tests.chaos.claims import Stored, double_bills, misjudged
from tests.chaos.faults import Fault, FaultLog
from tests.chaos.streams import UNPROCESSABLE, Ask

CODES = {getattr(errors, name).code for name in errors.__all__ if name[0].isupper()}


@dataclass(frozen=True, slots=True)
class Rule:
    """A sentence, how often it was put to the test, and where it did not hold."""

    name: str
    tried: int
    broken: Sequence[str]

    @property
    def holds(self) -> bool:
        return not self.broken


def causes(ask: Ask, log: FaultLog) -> list[str]:
    """Kinds of the injected faults that explain a request's error."""
    ended = ask.ended or ask.began
    if ask.fault_at is not None:
        return [f"engine: {ask.kind}"]
    return sorted({fault.kind for fault in _faults(ask, log, ended)})


def _faults(ask: Ask, log: FaultLog, ended: float) -> list[Fault]:
    """Those just before an error: of the worker that answered, else of any that was asked."""
    if ask.first_at is not None:
        return log.of(log.lives.get(ask.posts[-1].worker, "?"), ended, ended)
    workers = ask.posts[-1].candidates if ask.posts else list(log.lives)
    if any(log.was_full(worker, ask.posts[-1].at, ended) for worker in workers if ask.posts):
        workers = list(log.lives)  # who is left is full because others are away
    names = {log.lives.get(worker, "?") for worker in workers}
    return [fault for name in sorted(names) for fault in log.of(name, ended, ended)]


def healthy(ask: Ask, log: FaultLog) -> list[str]:
    """Workers that could have answered a request which got an error."""
    ended = ask.ended or ask.began
    if ask.fault_at is not None:
        return []
    if ask.first_at is not None:
        asked, since = [ask.posts[-1].worker], ended  # after the first byte nobody else is asked
    elif ask.posts:
        asked, since = ask.posts[-1].candidates, ask.posts[-1].at
    else:
        asked, since = list(log.current.values()), ask.began
    return [
        one
        for one in asked
        if log.is_healthy(one, since, ended) and not log.was_full(one, since, ended)
    ]


def failover_rules(
    asks: Sequence[Ask], log: FaultLog, *, claims: dict[str, Stored], books: Books
) -> list[Rule]:
    """All of them."""
    failed = [ask for ask in asks if ask.outcome == "error"]
    return [
        Rule(
            "no error while a healthy candidate existed",
            len(failed),
            [
                f"{_named(ask)}: {who[0][:8]} was well"
                for ask in failed
                if (who := healthy(ask, log))
            ],
        ),
        Rule(
            "every error has a code of the registry",
            len(failed),
            [_named(ask) for ask in failed if ask.code not in CODES],
        ),
        Rule(
            "every error has an injected fault within 2 s before it",
            len(failed),
            [_named(ask) for ask in failed if not causes(ask, log)],
        ),
        Rule(
            "no request is billed twice",
            len(asks),
            double_bills(claims, [[post.c for post in ask.posts] for ask in asks]),
        ),
        Rule(
            "every disposition is as SPEC 6 says",
            sum(len(claim.judged) for claim in claims.values()),
            misjudged(claims.values()),
        ),
        *_answer_rules(asks, claims),
        *_book_rules(books),
    ]


def _answer_rules(asks: Sequence[Ask], claims: dict[str, Stored]) -> list[Rule]:
    complete = [ask for ask in asks if ask.outcome == "complete"]
    resealed = [ask for ask in asks if len(ask.posts) > 1]
    return [
        Rule(
            "a verified receipt is the one that is billed",
            len(complete),
            [_named(ask) for ask in complete if not _is_billed(ask, claims)],
        ),
        Rule(
            "a request is sealed anew once at most, after a 422 problem+json",
            len(resealed),
            [_named(ask) for ask in resealed if not _is_renewal(ask)],
        ),
    ]


def _is_billed(ask: Ask, claims: dict[str, Stored]) -> bool:
    claim = claims.get(ask.posts[-1].c)
    return claim is not None and [claim.statement_hash] == [
        answer.receipt_hash for answer in ask.receipts
    ]


def _is_renewal(ask: Ask) -> bool:
    first, *rest = ask.posts
    return len(rest) == 1 and first.is_problem and first.status == UNPROCESSABLE


def _book_rules(books: Books) -> list[Rule]:
    sums = {
        "the ledger sums to 0": books.ledger_sum == 0,
        "charges are those of billed receipts": not (books.billing_gap or books.unpaid_bills),
        "posted is the sum of entries": not books.unposted,
        "no more was lent than there is": not books.overcommitted,
        "no claim is charged twice": not (books.billed_twice or books.charged_twice),
    }
    return [
        Rule(name, books.charges, () if held else ("it does not",)) for name, held in sums.items()
    ]


def _named(ask: Ask) -> str:
    return f"request {ask.number} ({ask.kind}) {ask.outcome} {ask.code}: {ask.message}"


def error_table(asks: Sequence[Ask], log: FaultLog) -> Counter[tuple[str, str, str]]:
    """Errors by code, by when they came, and by their causes."""
    return Counter(_rows(asks, log))


def _rows(asks: Sequence[Ask], log: FaultLog) -> Iterator[tuple[str, str, str]]:
    for ask in asks:
        if ask.outcome == "error":
            when = "before" if ask.first_at is None else "after"
            yield ask.code, when, ", ".join(causes(ask, log))
