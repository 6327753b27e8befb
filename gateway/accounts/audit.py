"""The audit log: who changed what, written in the transaction of the change itself.

A detail names ids, amounts and limits; never a secret, and never what was asked or answered.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.database import now_ms
from gateway.models import audit_log


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the log; `detail` is a JSON object as text, `at` unix ms."""

    id: int
    at: int
    actor: str
    action: str
    target: str
    detail: str


async def record(
    connection: AsyncConnection, actor: str, action: str, *, target: str, **detail: object
) -> None:
    """Note a change; it is kept if and only if the change is."""
    await connection.execute(
        insert(audit_log).values(
            at=now_ms(connection),
            actor=actor,
            action=action,
            target=target,
            detail=_text(detail),
        )
    )


def _text(detail: Mapping[str, object]) -> str:
    return json.dumps(detail, separators=(",", ":"), sort_keys=True)


async def read_changes(
    engine: AsyncEngine, *, target: str | None, before: int | None, limit: int
) -> list[Change]:
    """The latest first, older than change `before`."""
    query = select(*(audit_log.c[name] for name in Change.__slots__))
    if target is not None:
        query = query.where(audit_log.c.target == target)
    if before is not None:
        query = query.where(audit_log.c.id < before)
    query = query.order_by(audit_log.c.id.desc()).limit(limit)
    async with engine.connect() as connection:
        return [Change(*row) for row in await connection.execute(query)]
