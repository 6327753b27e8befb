"""The store of vendors' documents: one row per name, the newest; never on the hot path."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.models.collateral import vendor_document

_MS = 1000
_columns = vendor_document.c


@dataclass(frozen=True, slots=True)
class Kept:
    """A document's canonical bytes under its name; unix seconds."""

    name: str
    digest: str
    document: bytes
    fetched_at: int
    next_update: int
    refresh_at: int
    asked_at: int


@dataclass(frozen=True, slots=True)
class Shelf:
    """Documents by name and by content."""

    engine: AsyncEngine

    async def put(self, kept: Kept) -> None:
        """Keep a document in place of the one before."""
        if await self._replace(kept):
            return
        try:
            async with self.engine.begin() as connection:
                await connection.execute(insert(vendor_document).values(**_row(kept)))
        except IntegrityError:
            await self._replace(kept)  # another process was quicker

    async def _replace(self, kept: Kept) -> bool:
        row = _row(kept)
        async with self.engine.begin() as connection:
            done = await connection.execute(
                update(vendor_document).where(_columns.name == kept.name).values(**row)
            )
        return bool(done.rowcount)

    async def by_name(self, name: str) -> Kept | None:
        """The newest document of a name, however old."""
        return await self._first(_columns.name == name)

    async def by_digest(self, digest: str) -> Kept | None:
        """A document by the SHA-256 of its canonical bytes."""
        return await self._first(_columns.digest == digest)

    async def all(self) -> Sequence[Kept]:
        """Everything, by name."""
        query = select(vendor_document).order_by(_columns.name)
        async with self.engine.connect() as connection:
            return [_kept(row) for row in await connection.execute(query)]

    async def due(self, now: int, *, asked_since: int, limit: int) -> Sequence[Kept]:
        """Those to be asked for anew, of which somebody still asked since then."""
        query = (
            select(vendor_document)
            .where(_columns.refresh_at <= now * _MS, _columns.asked_at >= asked_since * _MS)
            .order_by(_columns.refresh_at)
            .limit(limit)
        )
        async with self.engine.connect() as connection:
            return [_kept(row) for row in await connection.execute(query)]

    async def claim(self, kept: Kept, until: int) -> bool:
        """Take a refresh upon this process; False where another one did already."""
        statement = (
            update(vendor_document)
            .where(_columns.name == kept.name, _columns.refresh_at == kept.refresh_at * _MS)
            .values(refresh_at=until * _MS)
        )
        async with self.engine.begin() as connection:
            return bool((await connection.execute(statement)).rowcount)

    async def note_asked(self, name: str, now: int) -> None:
        """Somebody needs this document."""
        statement = update(vendor_document).where(_columns.name == name).values(asked_at=now * _MS)
        async with self.engine.begin() as connection:
            await connection.execute(statement)

    async def forget(self, now: int, *, asked_before: int) -> int:
        """Remove what has ended and nobody asks for; how many."""
        statement = delete(vendor_document).where(
            _columns.next_update < now * _MS, _columns.asked_at < asked_before * _MS
        )
        async with self.engine.begin() as connection:
            return (await connection.execute(statement)).rowcount

    async def _first(self, condition: object) -> Kept | None:
        query = select(vendor_document).where(condition).limit(1)  # type: ignore[arg-type]
        async with self.engine.connect() as connection:
            row = (await connection.execute(query)).first()
        return _kept(row) if row is not None else None


def _row(kept: Kept) -> dict[str, object]:
    return {
        "name": kept.name,
        "digest": kept.digest,
        "document": kept.document,
        "fetched_at": kept.fetched_at * _MS,
        "next_update": kept.next_update * _MS,
        "refresh_at": kept.refresh_at * _MS,
        "asked_at": kept.asked_at * _MS,
    }


def _kept(row: Row[tuple[object, ...]]) -> Kept:
    one = row._mapping  # noqa: SLF001 - SQLAlchemy's own name for it, public by its documentation
    return Kept(
        name=one["name"],
        digest=one["digest"],
        document=bytes(one["document"]),
        fetched_at=one["fetched_at"] // _MS,
        next_update=one["next_update"] // _MS,
        refresh_at=one["refresh_at"] // _MS,
        asked_at=one["asked_at"] // _MS,
    )
