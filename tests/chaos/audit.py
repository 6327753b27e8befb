"""What the books say of a network (SPEC 6.9): read while it runs, checked when all is quiet."""

import shutil
import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.metering import queries
from gateway.metering.stores import open_store

LATE_MS = 10_000
"""The reaper looks every 2 s; the rest is for a gateway that is just starting."""


@dataclass(frozen=True, slots=True)
class Books:
    """The sums that must come out even, and counts to be shown."""

    ledger_sum: int
    billing_gap: int
    unposted: list[str]
    overcommitted: list[str]
    claims: Counter[str]
    dispositions: Counter[str]
    charges: int
    charged_nano: int
    billed_twice: int
    charged_twice: int
    unpaid_bills: int
    """Claims settled for something without a billed receipt of just that charge."""


async def read_books(url: str, engine: AsyncEngine) -> Books:
    """All of it, from a database that nobody writes to."""
    store = await open_store(url)
    try:
        sums = (
            await store.ledger_sum(),
            await store.billing_gap(),
            await store.unposted(),
            await store.overcommitted(),
        )
    finally:
        await store.close()
    charges = await _rows(
        engine,
        "SELECT txn, COUNT(*), SUM(amount_nano) FROM ledger_entry WHERE kind = 'charge' "
        "GROUP BY txn",
    )
    billed = await _rows(
        engine, "SELECT c, COUNT(*) FROM receipt WHERE disposition = 'billed' GROUP BY c"
    )
    return Books(
        *sums,
        claims=Counter(
            dict(await _rows(engine, "SELECT state, COUNT(*) FROM claim GROUP BY state"))
        ),
        dispositions=Counter(
            {
                f"{disposition} {status}" + (f" ({code})" if code else ""): count
                for disposition, status, code, count in await _rows(
                    engine,
                    "SELECT disposition, status, code, COUNT(*) FROM receipt "
                    "GROUP BY disposition, status, code",
                )
            }
        ),
        charges=len(charges),
        charged_nano=-sum(int(amount) for _, _, amount in charges),
        billed_twice=sum(count > 1 for _, count in billed),
        charged_twice=sum(count > 1 for _, count, _ in charges),
        unpaid_bills=len(
            await _rows(
                engine,
                "SELECT c FROM claim WHERE charge > 0 AND NOT EXISTS (SELECT 1 FROM receipt r "
                "WHERE r.c = claim.c AND r.statement_hash = claim.statement_hash "
                "AND r.disposition = 'billed' AND r.charge_nano = claim.charge)",
            )
        ),
    )


async def uneven(engine: AsyncEngine) -> list[str]:
    """Which sums do not come out even; they must at every moment, also while the network works."""
    checks = {
        "ledger sum": queries.LEDGER_SUM,
        "billing gap": queries.BILLING_GAP,
        "unposted": queries.UNPOSTED,
        "overcommitted": queries.OVERCOMMITTED,
    }
    return [
        name for name, query in checks.items() if await _rows(engine, query) not in ([], [(0,)])
    ]


async def open_claims(engine: AsyncEngine, *, winner: str | None = None) -> int:
    """Claims that wait for their statement; of one worker, or all."""
    found = await _rows(engine, "SELECT winner FROM claim WHERE state = 'open'")
    return sum(winner in (None, one) for (one,) in found)


async def late_claims(engine: AsyncEngine, now_ms: int) -> int:
    """Claims that are open well past their deadline."""
    query = f"SELECT c FROM claim WHERE state = 'open' AND deadline < {now_ms - LATE_MS}"
    return len(await _rows(engine, query))


async def disposition_of(engine: AsyncEngine, statement_hash: str) -> str | None:
    """What became of one statement."""
    async with engine.connect() as connection:
        query = text("SELECT disposition FROM receipt WHERE statement_hash = :hash")
        found = await connection.execute(query, {"hash": bytes.fromhex(statement_hash)})
        disposition: str | None = found.scalar_one_or_none()
        return disposition


def journalled(path: Path, scratch: Path) -> int:
    """Statements that wait in a worker's journal, which it holds locked: read from a copy."""
    scratch.mkdir(parents=True, exist_ok=True)
    copy = scratch / path.name
    for suffix in ("", "-wal"):
        original = path.with_name(path.name + suffix)
        copied = copy.with_name(copy.name + suffix)
        copied.unlink(missing_ok=True)
        if original.exists():
            shutil.copyfile(original, copied)
    connection = sqlite3.connect(copy)
    try:
        count: int = connection.execute("SELECT COUNT(*) FROM receipt").fetchone()[0]
    finally:
        connection.close()
    return count


async def _rows(engine: AsyncEngine, query: str) -> list[Any]:
    async with engine.connect() as connection:
        return [tuple(row) for row in (await connection.execute(text(query))).all()]
