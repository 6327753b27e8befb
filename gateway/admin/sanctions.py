"""Workers that administrators drained or blocked; every process holds to it within two seconds.

A drained worker keeps its link and gets nothing new. A blocked one loses its link, and is refused
when it dials again; a block by platform id outlives its keysets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from bombyx.attestation.verify import VerifiedWorker
from bombyx.errors import NotFound, WorkerRefused
from gateway.accounts.audit import record
from gateway.database import now_ms
from gateway.models import sanction
from gateway.workers.registry import Listed, Registry

Subject: TypeAlias = Literal["worker", "platform"]
Action: TypeAlias = Literal["drain", "block"]


@dataclass(frozen=True, slots=True)
class Sanction:
    """Who, what and why; `at` in unix ms."""

    subject: Subject
    id: str
    action: Action
    reason: str
    at: int


class Sanctions:
    """The table, and what it means for those who are linked here."""

    def __init__(self, engine: AsyncEngine, registry: Registry) -> None:
        self._engine = engine
        self._registry = registry

    async def put(
        self, subject: Subject, named: str, action: Action, *, reason: str, actor: str
    ) -> None:
        """Drain or block; takes the place of an earlier one."""
        mine = (sanction.c.subject == subject) & (sanction.c.id == named)
        async with self._engine.begin() as connection:
            await connection.execute(delete(sanction).where(mine))
            await connection.execute(
                insert(sanction).values(
                    subject=subject, id=named, action=action, reason=reason, at=now_ms(connection)
                )
            )
            await record(connection, actor, f"{subject}.{action}", target=named, reason=reason)
        await self.enforce()

    async def lift(self, subject: Subject, named: str, *, actor: str) -> None:
        """End a sanction; raises `NotFound`."""
        mine = (sanction.c.subject == subject) & (sanction.c.id == named)
        async with self._engine.begin() as connection:
            if not (await connection.execute(delete(sanction).where(mine))).rowcount:
                raise NotFound("there is no such sanction")
            await record(connection, actor, f"{subject}.lift", target=named)
        await self.enforce()

    async def all(self) -> Sequence[Sanction]:
        """All of them, by subject and id: they are few."""
        query = select(*(sanction.c[name] for name in Sanction.__slots__)).order_by(
            sanction.c.subject, sanction.c.id
        )
        async with self._engine.connect() as connection:
            return [Sanction(*row) for row in await connection.execute(query)]

    async def check(self, verified: VerifiedWorker) -> None:
        """Raises `WorkerRefused` for a worker that is blocked."""
        names = _names(verified)
        for one in await self.all():
            if one.action == "block" and (one.subject, one.id) in names:
                raise _refusal(one)

    async def enforce(self) -> None:
        """Hold all links of this process to the table."""
        listed = self._registry.all()
        if not listed:
            return
        found = {(one.subject, one.id): one for one in await self.all()}
        for worker in listed:
            _apply(worker, [found[name] for name in _names(worker.verified) if name in found])


def _apply(worker: Listed, sanctions: Sequence[Sanction]) -> None:
    worker.link.withheld = bool(sanctions)
    for one in sanctions:
        if one.action == "block":
            worker.link.hang_up(_refusal(one))
            return


def _names(verified: VerifiedWorker) -> tuple[tuple[str, str], ...]:
    return (("worker", verified.worker_id), ("platform", verified.platform_id))


def _refusal(one: Sanction) -> WorkerRefused:
    return WorkerRefused(f"the gateway's operator blocked this {one.subject}")
