"""How fast an owner earns, and what runs at its workers: what a deposit has to last for (SPEC 8.4).

Read from the ledger and the open claims, so that every process's requests count.
"""

from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.database import now_ms
from gateway.models import claim, ledger_entry, payee
from gateway.payouts.rows import owner_account

WINDOW_MS: Final = 600_000
"""Ten minutes, as many as a deposit is to last."""
_MINUTE_MS: Final = 60_000
_SAMPLE: Final = 5_000
"""Entries that are read at most: of a busy owner the newest give the pace as well."""


async def per_minute(engine: AsyncEngine, owner: str) -> int:
    """Nano that an owner earns in a minute, by the last ten of them."""
    columns = ledger_entry.c
    newest = (
        select(columns.amount_nano, columns.kind, columns.at)
        .where(columns.account == owner_account(owner))
        .order_by(columns.id.desc())
        .limit(_SAMPLE)
        .subquery()
    )
    recent = select(
        func.coalesce(func.sum(newest.c.amount_nano), 0), func.min(newest.c.at), func.count()
    )
    async with engine.connect() as connection:
        now = (await connection.execute(select(now_ms(connection)))).scalar_one()
        within = (newest.c.kind == "earning") & (newest.c.at > now - WINDOW_MS)
        earned, first, count = (await connection.execute(recent.where(within))).one()
    span = WINDOW_MS if first is None or count < _SAMPLE else max(now - first, _MINUTE_MS)
    return int(earned) * _MINUTE_MS // span


async def in_flight(engine: AsyncEngine, owner: str) -> int:
    """Nano that open requests at an owner's workers may still cost, one of each size at least.

    What they refused counts as well: a request that is above what a deposit secures would
    otherwise never run, and so never be seen to want more.
    """
    columns = claim.c
    running = func.coalesce(columns.winner, columns.worker)
    mine = select(payee.c.worker).where(payee.c.owner == owner)
    open_now = select(func.coalesce(func.sum(columns.reserve), 0)).where(
        columns.state == "open", running.in_(mine)
    )
    newest = (
        select(columns.reserve, columns.created_at, running.label("worker"))
        .order_by(columns.created_at.desc())
        .limit(_SAMPLE)
        .subquery()
    )
    async with engine.connect() as connection:
        now = (await connection.execute(select(now_ms(connection)))).scalar_one()
        largest = select(func.coalesce(func.max(newest.c.reserve), 0)).where(
            newest.c.created_at > now - WINDOW_MS, newest.c.worker.in_(mine)
        )
        running_now = int((await connection.execute(open_now)).scalar_one())
        return max(running_now, int((await connection.execute(largest)).scalar_one()))
