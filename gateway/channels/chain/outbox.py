"""The wallet's outbox in the gateway's database: a withdrawal is booked and ordered in one step."""

import json
from collections.abc import Collection, Sequence
from typing import Any

from pytoniq_core import Address
from sqlalchemy import ColumnElement, delete, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.channels.ledger import writing
from gateway.models import chain_batch, chain_cursor, chain_order
from ton.chain.port import Point
from ton.codec.cells import raw
from ton.wallet.outbox import Batch, Order, State
from ton.wallet.outgoing import Outgoing, read_outgoing

OWN = "wallet"
"""The reader of the wallet's history that looks for what was sent and what came back."""

_PUT = text(
    "INSERT INTO chain_order (wallet, id, account, boc, state, message, tx) "
    "VALUES (:wallet, :id, :account, :boc, 'queued', :nothing, :nothing) ON CONFLICT DO NOTHING"
)
_POINT = text(
    "INSERT INTO chain_cursor (wallet, reader, lt, hash) "
    "VALUES (:wallet, :reader, :lt, :hash) ON CONFLICT DO NOTHING"
)


class SqlOutbox:
    """See `ton.wallet.outbox.Outbox`; several processes may use it at once."""

    def __init__(self, engine: AsyncEngine, *, network: int, source: Address) -> None:
        self._engine = engine
        self._source = source
        self._wallet = f"{network}:{raw(source)}"

    async def put(self, order_id: str, outgoing: Outgoing) -> Order:
        """See `Outbox.put`."""
        async with writing(self._engine) as connection:
            return await self.put_in(connection, order_id, outgoing)

    async def put_in(self, connection: AsyncConnection, order_id: str, outgoing: Outgoing) -> Order:
        """The same within a transaction: the order is kept if and only if that is."""
        values = {
            "wallet": self._wallet,
            "id": order_id,
            "account": raw(outgoing.to),
            "boc": outgoing.boc(self._source),
            "nothing": b"",
        }
        await connection.execute(_PUT, values)
        (found,) = await self._find(connection, chain_order.c.id == order_id)
        return found

    async def get(self, order_id: str) -> Order | None:
        """See `Outbox.get`."""
        async with self._engine.connect() as connection:
            return await self.get_in(connection, order_id)

    async def get_in(self, connection: AsyncConnection, order_id: str) -> Order | None:
        """The same within a transaction."""
        found = await self._find(connection, chain_order.c.id == order_id)
        return found[0] if found else None

    async def queued(self, limit: int) -> list[Order]:
        """See `Outbox.queued`."""
        async with self._engine.connect() as connection:
            return await self._find(connection, _in(State.QUEUED), limit=limit)

    async def withdraw(self, order_id: str) -> bool:
        """See `Outbox.withdraw`."""
        mine = (chain_order.c.wallet == self._wallet) & (chain_order.c.id == order_id)
        async with writing(self._engine) as connection:
            # The row first: whoever signs it at the same time is waited for, and seen.
            done = await connection.execute(delete(chain_order).where(mine, _in(State.QUEUED)))
            if any(order_id in batch.orders for batch in await self._batches(connection)):
                await connection.rollback()
                return False
        return bool(done.rowcount)

    async def newest_to(self, account: str) -> Order | None:
        """The last order to an account."""
        async with self._engine.connect() as connection:
            return await self.newest_in(connection, account)

    async def newest_in(self, connection: AsyncConnection, account: str) -> Order | None:
        """The same within a transaction."""
        query = self._select(chain_order.c.account == account)
        found = await connection.execute(query.order_by(chain_order.c.at.desc()).limit(1))
        return next(map(_order, found), None)

    async def batches(self) -> list[Batch]:
        """See `Outbox.batches`."""
        async with self._engine.connect() as connection:
            return await self._batches(connection)

    async def sign(self, batch: Batch) -> bool:
        """See `Outbox.sign`."""
        values = {
            "wallet": self._wallet,
            "hash": batch.hash,
            "seqno": batch.seqno,
            "valid_until": batch.valid_until,
            "orders": json.dumps(batch.orders),
            "boc": batch.boc,
        }
        async with writing(self._engine) as connection:
            if await self._move(connection, batch.orders, State.QUEUED, State.SIGNED) == len(
                batch.orders
            ):
                await connection.execute(insert(chain_batch).values(**values))
                return True
            await connection.rollback()
        return False

    async def expire(self, batch: Batch) -> None:
        """See `Outbox.expire`."""
        async with writing(self._engine) as connection:
            await self._move(connection, batch.orders, State.SIGNED, State.QUEUED)

    async def again(self, prefix: str) -> int:
        """Queue orders again that the wallet could not send, by how their ids begin; how many."""
        skipped = _in(State.SKIPPED) & chain_order.c.id.startswith(prefix, autoescape=True)
        async with writing(self._engine) as connection:
            done = await connection.execute(
                update(chain_order)
                .where(chain_order.c.wallet == self._wallet, skipped)
                .values(state=State.QUEUED.value)
            )
        return int(done.rowcount)

    async def sent_to(self, account: str) -> list[Order]:
        """See `Outbox.sent_to`."""
        async with self._engine.connect() as connection:
            return await self._find(
                connection, (chain_order.c.account == account) & _in(State.SENT)
            )

    async def read_until(self, reader: str = OWN) -> Point | None:
        """See `Outbox.read_until`."""
        query = select(chain_cursor.c.lt, chain_cursor.c.hash).where(
            chain_cursor.c.wallet == self._wallet, chain_cursor.c.reader == reader
        )
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else Point(int(row[0]), bytes(row[1]))

    async def mark(self, reader: str, since: Point | None, to: Point) -> bool:
        """Another reader has got from `since` to `to`; False where one was faster."""
        async with writing(self._engine) as connection:
            return await self._mark(connection, reader, since, to)

    async def advance(
        self, since: Point | None, to: Point, *, seqno: int, results: Sequence[Order] = (),
        bounced: Collection[str] = (),
    ) -> bool:  # fmt: skip
        """See `Outbox.advance`."""
        async with writing(self._engine) as connection:
            if not await self._mark(connection, OWN, since, to):
                return False
            for one in results:
                await connection.execute(
                    update(chain_order)
                    .where(chain_order.c.wallet == self._wallet, chain_order.c.id == one.id)
                    .values(state=one.state.value, message=one.message, tx=one.transaction)
                )
            for batch in await self._batches(connection):
                if batch.seqno < seqno:
                    await self._move(connection, batch.orders, State.SIGNED, State.QUEUED)
            await connection.execute(
                delete(chain_batch).where(
                    chain_batch.c.wallet == self._wallet, chain_batch.c.seqno < seqno
                )
            )
            await self._move(connection, bounced, State.SENT, State.BOUNCED)
        return True

    async def _mark(
        self, connection: AsyncConnection, reader: str, since: Point | None, to: Point
    ) -> bool:
        values = {"wallet": self._wallet, "reader": reader, "lt": str(to.lt), "hash": to.hash}
        if since is None:
            return bool((await connection.execute(_POINT, values)).rowcount)
        done = await connection.execute(
            update(chain_cursor)
            .where(
                chain_cursor.c.wallet == self._wallet,
                chain_cursor.c.reader == reader,
                chain_cursor.c.lt == str(since.lt),
                chain_cursor.c.hash == since.hash,
            )
            .values(lt=str(to.lt), hash=to.hash)
        )
        return bool(done.rowcount)

    async def _move(
        self, connection: AsyncConnection, ids: Collection[str], before: State, after: State
    ) -> int:
        if not ids:
            return 0
        mine = (chain_order.c.wallet == self._wallet) & chain_order.c.id.in_(list(ids))
        done = await connection.execute(
            update(chain_order).where(mine, _in(before)).values(state=after.value)
        )
        return int(done.rowcount)

    async def _batches(self, connection: AsyncConnection) -> list[Batch]:
        names = ("hash", "seqno", "valid_until", "orders", "boc")
        query = select(*(chain_batch.c[name] for name in names))
        query = query.where(chain_batch.c.wallet == self._wallet).order_by(chain_batch.c.at)
        return [
            Batch(bytes(row[0]), row[1], row[2], tuple(json.loads(row[3])), bytes(row[4]))
            for row in await connection.execute(query)
        ]

    def _select(self, where: ColumnElement[bool]) -> Any:
        names = ("id", "boc", "state", "message", "tx")
        columns = (chain_order.c[name] for name in names)
        return select(*columns).where(chain_order.c.wallet == self._wallet, where)

    async def _find(
        self, connection: AsyncConnection, where: ColumnElement[bool], *, limit: int | None = None
    ) -> list[Order]:
        query = self._select(where).order_by(chain_order.c.at).limit(limit)
        return [_order(row) for row in await connection.execute(query)]


def _in(state: State) -> ColumnElement[bool]:
    return chain_order.c.state == state.value


def _order(row: Any) -> Order:
    return Order(row[0], read_outgoing(bytes(row[1])), State(row[2]), bytes(row[3]), bytes(row[4]))
