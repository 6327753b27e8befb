"""How much of a storm of channels, what it came to, and which rules it broke (SPEC 16)."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.chaos.audit import Books
from tests.chaos.channel_books import Ended, Sums
from tests.chaos.load import Tally
from tests.chaos.purses import CAPS

CHAIN, GATEWAY, WORKER, SIDECAR = "chain", "gateway", "worker", "sidecar"


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """How much of a storm; half of the purses have a sidecar."""

    seed: int = 1
    kills: int = 40
    requests: int = 1000
    purses: int = 10
    clients: int = 20
    lanes: int = 6
    at_once: int = 100
    streams: int = 30
    duration: int = 15
    grace: int = 10
    while_closing: tuple[str, ...] = (CHAIN, GATEWAY)
    """Who is killed while channels close. A message that the chain lost goes out after 20 s."""


@dataclass(slots=True)
class ChannelReport:
    """What happened."""

    tally: Tally
    kills: Counter[str] = field(default_factory=Counter)
    at_once: int = 0
    open_claims: int = 0
    """At the most, by the gateway's database."""
    ended: list[Ended] = field(default_factory=list)
    sums: Sums | None = None
    books: Books | None = None
    unpaid: dict[str, int] = field(default_factory=dict)
    on_the_way: list[str] = field(default_factory=list)
    """What commands said between a kill and the start that followed."""
    journals: dict[str, int] = field(default_factory=dict)
    exits: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """For people and for assertions."""
        tally, books = self.tally, self.books
        return {
            "requests": tally.requests,
            "complete": tally.complete,
            "left by the client": tally.left,
            "errors": dict(tally.errors.most_common()),
            "at once": self.at_once,
            "open claims at once": self.open_claims,
            "kills": dict(self.kills),
            "dispositions": dict(sorted(books.dispositions.items())) if books else {},
            "charges": books.charges if books else 0,
            "charged nano": books.charged_nano if books else 0,
            "billed nano": sum(one.billed for one in self.ended),
            "claimed on chain": sum(one.claimed for one in self.ended),
            "workers' unpaid nano": sum(self.unpaid.values()),
            "channels": [
                {
                    "purse": one.purse,
                    "deposited": one.deposited,
                    "charged": one.charged,
                    "claimed": one.claimed,
                    "proven": one.proven,
                }
                for one in self.ended
            ],
            "chain": asdict(self.sums) if self.sums else {},
            "said on the way": self.on_the_way,
            "journals": self.journals,
            "exits": self.exits,
            "rules that did not hold": self.broken,
        }


def complaints(report: ChannelReport, plan: ChannelPlan) -> list[str]:
    """Every rule that the storm broke."""
    books, tally, sums = report.books, report.tally, report.sums
    if books is None or sums is None:
        return ["the books were not read"]
    held = {
        "too few requests": tally.complete + tally.left >= plan.requests,
        "too few at once": report.open_claims >= plan.at_once,
        "the ledger does not sum to 0": books.ledger_sum == 0,
        "charges are not those of billed receipts": books.billing_gap == 0,
        "channels were charged something else than billed receipts": sum(
            one.charged for one in report.ended
        )
        == books.charged_nano,
        "posted is not the sum of entries": not books.unposted,
        "clients have receipts that were neither billed nor late": sum(
            one.proven - one.claimed for one in report.ended
        )
        <= sum(report.unpaid.values()),
        "workers lost more than one client may have in flight": sum(report.unpaid.values())
        <= CAPS.max_inflight,
        "a claim is still open": not books.claims["open"],
        "a claim was billed twice": not (books.billed_twice or books.charged_twice),
        "a claim was charged without its receipt": not books.unpaid_bills,
        "a journal is not empty": not any(report.journals.values()),
        "a process did not stop well": not any(report.exits.values()),
    }
    found = [what for what, good in held.items() if not good]
    return [
        *found,
        *tally.wrong,
        *(fault for one in report.ended for fault in one.faults()),
        *sums.faults(),
    ]
