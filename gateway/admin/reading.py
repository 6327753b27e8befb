"""Ledger, claims and receipts as administrators read them: pages, the latest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.accounts.repository import Entry
from gateway.models import claim, ledger_entry, receipt


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """A claim without its header; `charge` is None while it is open."""

    c: bytes
    id: str
    account: str
    key: str
    tier: str
    model: str
    state: str
    reserve: int
    charge: int | None
    winner: str | None
    attempts: int
    slot: int
    created_at: int
    deadline: int
    statement_hash: bytes | None


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """A statement as judged, without the document."""

    statement_hash: bytes
    c: bytes
    id: str
    worker: str
    status: str
    disposition: str
    code: str | None
    charge_nano: int
    at: int


@dataclass(frozen=True, slots=True)
class Reading:
    """Reads only; each method is one statement."""

    engine: AsyncEngine

    async def ledger(
        self, *, account: str | None, kind: str | None, before: int | None, limit: int
    ) -> Sequence[Entry]:
        """Entries older than entry `before`."""
        columns = ledger_entry.c
        query = select(*(columns[name] for name in Entry.__slots__))
        if account is not None:
            query = query.where(columns.account == account)
        if kind is not None:
            query = query.where(columns.kind == kind)
        if before is not None:
            query = query.where(columns.id < before)
        rows = await self._rows(query.order_by(columns.id.desc()).limit(limit))
        return [Entry(*row) for row in rows]

    async def claims(
        self,
        *,
        state: str | None,
        account: str | None,
        before: tuple[int, str] | None,
        limit: int,
    ) -> Sequence[ClaimRow]:
        """Claims made before (`created_at`, c in hex)."""
        query = select(*(claim.c[name] for name in ClaimRow.__slots__))
        if state is not None:
            query = query.where(claim.c.state == state)
        if account is not None:
            query = query.where(claim.c.account == account)
        query = _earlier(query, claim.c.created_at, claim.c.c, before)
        return [ClaimRow(*row) for row in await self._rows(query.limit(limit))]

    async def claim(self, c: bytes) -> ClaimRow | None:
        """One claim."""
        query = select(*(claim.c[name] for name in ClaimRow.__slots__)).where(claim.c.c == c)
        rows = await self._rows(query)
        return ClaimRow(*rows[0]) if rows else None

    async def receipts(
        self, *, disposition: str | None, before: tuple[int, str] | None, limit: int
    ) -> Sequence[ReceiptRow]:
        """Billed receipts through the ledger's order of claims, others by when they were judged.

        Each way has an index that hot tables can afford: every claim is in the one, only what was
        not billed in the other.
        """
        columns = receipt.c
        query = select(*(columns[name] for name in ReceiptRow.__slots__))
        if disposition in {None, "billed"}:
            query = query.join(claim, claim.c.c == columns.c).where(columns.disposition == "billed")
            query = _earlier(query, claim.c.created_at, columns.c, before)
        else:
            query = query.where(columns.disposition == disposition, columns.disposition != "billed")
            query = _earlier(query, columns.at, columns.statement_hash, before)
        return [ReceiptRow(*row) for row in await self._rows(query.limit(limit))]

    async def claimed_at(self, c: bytes) -> int:
        """When a claim was made, unix ms; 0 for an unknown one."""
        rows = await self._rows(select(claim.c.created_at).where(claim.c.c == c))
        return rows[0][0] if rows else 0

    async def _rows(self, query: Select[Any]) -> Sequence[Any]:
        async with self.engine.connect() as connection:
            return list(await connection.execute(query))


def _earlier(
    query: Select[Any],
    at: ColumnElement[int],
    name: ColumnElement[bytes],
    before: tuple[int, str] | None,
) -> Select[Any]:
    if before is not None:
        when, who = before[0], bytes.fromhex(before[1])
        query = query.where(or_(at < when, and_(at == when, name < who)))
    return query.order_by(at.desc(), name.desc())
