"""Rows for tests, short to write; numbers make them unique."""

import asyncio
import contextlib
import hashlib
from pathlib import Path
from typing import Any

from sqlalchemy import text

from gateway import database
from gateway.metering.rows import NewClaim, SettlementRow, SignedStatement

FAR = 4_000_000_000_000
"""A deadline that no test reaches, unix ms."""


def sha(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


def new_claim(number: int, account: str = "alice", reserve: int = 100, **changes: Any) -> NewClaim:
    values: dict[str, Any] = {
        "c": sha("c", number),
        "h": sha("h", number),
        "id": f"{number:032x}",
        "account": account,
        "reserve": reserve,
        "deadline": FAR,
        "tier": "sealed",
        "model": "m",
        "payer": "p",
        "fee_bps": 100,
        "header": b"{}",
        "req_ct_hash": sha("r", number),
        "worker": "w1",
        "ticket": "t1",
        "offer": "o",
    }
    return NewClaim(**{**values, **changes})


def statement(number: int, seq: int = 0, worker: str = "w1") -> SignedStatement:
    return SignedStatement(sha("s", number, seq), f"{number:032x}", worker, "final", b"{}")


def settlement(number: int, amount: int = 50, fee: int = 5, seq: int = 0) -> SettlementRow:
    return SettlementRow(sha("c", number), amount, fee, "worker:bob", statement(number, seq))


def nothing(number: int) -> SettlementRow:
    return SettlementRow(sha("c", number))


async def execute(url: str, statement: str, **values: Any) -> list[Any]:
    """Run one statement beside the store."""
    path = database.sqlite_path(url)
    if path is not None:
        # In a thread: whoever holds the file's lock may need this loop to let go of it.
        return await asyncio.to_thread(_execute, path, statement, values)
    engine = database.create_engine(url)
    try:
        async with engine.begin() as connection:
            result = await connection.execute(text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []
    finally:
        await engine.dispose()


def _execute(path: Path, statement: str, values: dict[str, Any]) -> list[Any]:
    """Without the engine: random histories ask thousands of times."""
    with contextlib.closing(database.connect_sqlite(path)) as raw:
        return raw.execute(statement, values).fetchall()


async def fund(url: str, account: str = "alice", amount: int = 1_000) -> None:
    """An account with money that came from issuance."""
    for name, kind in (("issuance", "issuance"), (account, "client")):
        await execute(
            url,
            "INSERT INTO account (id, kind, name, posted, created_at) "
            "VALUES (:id, :kind, '', 0, 0) ON CONFLICT DO NOTHING",
            id=name,
            kind=kind,
        )
    for name, delta in (("issuance", -amount), (account, amount)):
        await execute(
            url, "UPDATE account SET posted = posted + :d WHERE id = :id", d=delta, id=name
        )
        await execute(
            url,
            "INSERT INTO ledger_entry (txn, account, amount_nano, kind, ref, at) "
            "VALUES (:txn, :id, :d, 'credit', '', 0)",
            txn=f"fund:{account}",
            id=name,
            d=delta,
        )


async def age(url: str, ms: int) -> None:
    """Let the database's clock run ahead, by moving all that it compares with back."""
    await execute(url, "UPDATE process SET expires_at = expires_at - :ms", ms=ms)
    await execute(url, "UPDATE claim SET deadline = deadline - :ms", ms=ms)


async def posted(url: str, account: str) -> int:
    rows = await execute(url, "SELECT posted FROM account WHERE id = :id", id=account)
    return int(rows[0][0])
