"""What became of each claim (SPEC 6.2, 6.6 to 6.8): read when all is quiet."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine


@dataclass(frozen=True, slots=True)
class Judged:
    """A statement and its disposition; `at` in unix milliseconds, when it was disposed of."""

    statement_hash: str
    worker: str
    status: str
    disposition: str
    charge: int
    at: int


@dataclass(slots=True)
class Stored:
    """A claim with its attempts, the last one last, and its statements."""

    c: str
    state: str
    deadline: int
    charge: int
    statement_hash: str
    attempts: list[str]
    judged: list[Judged] = field(default_factory=list)


async def read_claims(engine: AsyncEngine) -> dict[str, Stored]:
    """All claims by commitment."""
    async with engine.connect() as connection:
        claims = await connection.execute(
            text("SELECT c, state, deadline, charge, statement_hash, worker FROM claim")
        )
        found = {
            row.c.hex(): Stored(
                row.c.hex(),
                row.state,
                row.deadline,
                row.charge or 0,
                row.statement_hash.hex() if row.statement_hash else "",
                [row.worker],
            )
            for row in claims
        }
        attempts = await connection.execute(
            text("SELECT c, worker FROM attempt WHERE number > 1 ORDER BY c, number")
        )
        for row in attempts:
            found[row.c.hex()].attempts.append(row.worker)
        receipts = await connection.execute(
            text(
                "SELECT c, statement_hash, worker, status, disposition, charge_nano, at "
                "FROM receipt ORDER BY at"
            )
        )
        for row in receipts:
            judged = Judged(
                row.statement_hash.hex(),
                row.worker,
                row.status,
                row.disposition,
                row.charge_nano,
                row.at,
            )
            found[row.c.hex()].judged.append(judged)
    return found


def dispositions(claims: Iterable[Stored]) -> Counter[str]:
    """How many statements of each status got which disposition."""
    return Counter(f"{one.status} {one.disposition}" for claim in claims for one in claim.judged)


def double_bills(claims: dict[str, Stored], calls: Iterable[list[str]]) -> list[str]:
    """Claims with two bills, and calls whose commitments were charged more than once."""
    twice = [
        f"claim {claim.c[:8]} has {len(bills)} bills"
        for claim in claims.values()
        if len(bills := [one for one in claim.judged if one.disposition == "billed"]) > 1
    ]
    for commitments in calls:
        charged = [c for c in commitments if c in claims and claims[c].charge]
        if len(charged) > 1:
            twice.append(f"one call was charged as {[c[:8] for c in charged]}")
    return twice


def misjudged(claims: Iterable[Stored]) -> list[str]:
    """Dispositions that SPEC 6 does not allow."""
    return [f"claim {claim.c[:8]}: {reason}" for claim in claims for reason in _misjudged(claim)]


def _misjudged(claim: Stored) -> Iterator[str]:
    if claim.state != "settled":
        yield "open"
    bills = [one for one in claim.judged if one.disposition == "billed"]
    if claim.statement_hash and claim.statement_hash not in {one.statement_hash for one in bills}:
        yield "settled by a statement that is not billed"
    if claim.charge != sum(one.charge for one in bills):
        yield "charged other than its bill says"
    for one in claim.judged:
        if (reason := _wrong(one, claim)) is not None:
            yield f"{one.status} of {one.worker[:8]} is {one.disposition}: {reason}"


def _wrong(one: Judged, claim: Stored) -> str | None:
    is_winner = one.worker == claim.attempts[-1]
    if one.disposition != "billed" and one.charge:
        return "charged without a bill"
    match one.disposition:
        case "billed":
            return None if is_winner else "it is not the last attempt's"
        case "superseded":
            # By another attempt, or by the word that nobody answered.
            is_lost = not is_winner or not claim.statement_hash
            return None if is_lost else "it is the winner's"
        case "expired":
            return None if one.at >= claim.deadline else "it came in time"
    return "no honest worker's statement is"
