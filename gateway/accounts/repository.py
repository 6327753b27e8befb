"""Accounts, credit and keys, as administrators and account pages use them: rare, whole, audited.

All money that exists came from `issuance`, whose balance is therefore what all others hold, with
the sign turned. What requests do on the hot path is `gateway.metering`.
"""

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import ColumnElement, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bombyx.errors import IdempotencyConflict, NotFound, RequestError
from bombyx.units import MAX_NANO
from gateway.accounts.audit import record
from gateway.accounts.keys import ENTROPY_BYTES, NewKey, make_key
from gateway.accounts.limits import check_limits, put_limits
from gateway.database import now_ms
from gateway.metering.rows import ISSUANCE_ACCOUNT, KeyLimits
from gateway.models import account, api_key, ledger_entry

Kind: TypeAlias = Literal["client", "worker", "gateway", "issuance", "channel", "chain", "payout"]
NOT_CREDITED = frozenset({"issuance", "channel", "chain", "payout"})
"""Kinds whose money comes from elsewhere."""
Scope: TypeAlias = Literal["inference", "admin"]

ID_BYTES = 8
MAX_ISSUED = 8 * 10**18
"""Nano of all money that there is: with one credit more it still fits 64 bits."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account and what it holds: nano, running reserves included."""

    id: str
    kind: Kind
    name: str
    posted: int
    created_at: int
    closed_at: int | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger."""

    id: int
    txn: str
    account: str
    amount_nano: int
    kind: str
    ref: str
    at: int


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is known of a key once it was shown."""

    id: str
    account: str
    name: str
    prefix: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    scope: Scope


class Accounts:
    """Every method that changes something is one transaction, which also notes `actor`."""

    def __init__(self, engine: AsyncEngine, actor: str = "cli") -> None:
        self._engine = engine
        self._actor = actor

    async def create(self, name: str, *, kind: Kind = "client") -> Account:
        """A new account with nothing on it."""
        new_id = f"{kind}_{secrets.token_hex(ID_BYTES)}"
        async with self._engine.begin() as connection:
            await _insert_account(connection, new_id, kind, name)
            await record(connection, self._actor, "account.create", target=new_id, kind=kind)
        return await self.get(new_id)

    async def get(self, account_id: str) -> Account:
        """Raises `NotFound`."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(_accounts(account.c.id == account_id))).first()
        if row is None:
            raise NotFound("there is no such account")
        return Account(*row)

    async def list(self, *, after: str = "", limit: int = 100) -> Sequence[Account]:
        """Accounts by id, a page at a time."""
        query = _accounts(account.c.id > after).order_by(account.c.id).limit(limit)
        async with self._engine.connect() as connection:
            return [Account(*row) for row in await connection.execute(query)]

    async def close(self, account_id: str) -> Account:
        """End an account: all its keys are revoked, and it gets neither keys nor credit any more.

        What it holds stays posted. Raises `NotFound`. Again: nothing changes.
        """
        await self.get(account_id)
        async with self._engine.begin() as connection:
            mine = (account.c.id == account_id) & account.c.closed_at.is_(None)
            closed = await connection.execute(
                update(account).where(mine).values(closed_at=now_ms(connection))
            )
            if closed.rowcount:
                await connection.execute(
                    update(api_key)
                    .where(api_key.c.account == account_id, api_key.c.revoked_at.is_(None))
                    .values(revoked_at=now_ms(connection))
                )
                await record(connection, self._actor, "account.close", target=account_id)
        return await self.get(account_id)

    async def _open(self, account_id: str) -> Account:
        """Raises `NotFound`, `RequestError` for a closed account."""
        found = await self.get(account_id)
        if found.closed_at is not None:
            raise RequestError("the account is closed", param="account")
        return found

    async def balance(self, account_id: str) -> int:
        """Nano posted; raises `NotFound`."""
        return (await self.get(account_id)).posted

    async def credit(self, account_id: str, amount: int, *, txn: str, ref: str = "") -> bool:
        """Give an account money out of `issuance`; False when `txn` was booked before.

        Raises `RequestError` for an amount that is no positive integer, `NotFound`.
        """
        if type(amount) is not int or not 0 < amount <= MAX_NANO:
            raise RequestError("an amount is a positive whole number of nano", param="amount_nano")
        if await self._is_booked(txn, account_id, amount):
            return False
        if (await self._open(account_id)).kind in NOT_CREDITED:
            raise RequestError("this account takes no credit", param="account")
        try:
            async with self._engine.begin() as connection:
                await _transfer(connection, account_id, amount, txn=txn, ref=ref)
                await record(
                    connection,
                    self._actor,
                    "account.credit",
                    target=account_id,
                    amount_nano=str(amount),
                    txn=txn,
                )
        except IntegrityError:
            if await self._is_booked(txn, account_id, amount):
                return False
            raise
        return True

    async def _is_booked(self, txn: str, account_id: str, amount: int) -> bool:
        """Raises `IdempotencyConflict` where `txn` stands for another account or amount."""
        query = select(ledger_entry.c.account, ledger_entry.c.amount_nano).where(
            ledger_entry.c.txn == txn,
            ledger_entry.c.kind == "credit",
            ledger_entry.c.account != ISSUANCE_ACCOUNT,
        )
        async with self._engine.connect() as connection:
            booked = [tuple(row) for row in await connection.execute(query)]
        if booked and (account_id, amount) not in booked:
            raise IdempotencyConflict("this txn was booked for another account or amount")
        return bool(booked)

    async def ledger(
        self, account_id: str, *, before: int | None = None, limit: int = 100
    ) -> Sequence[Entry]:
        """Entries of an account, the latest first, older than entry `before`."""
        columns = ledger_entry.c
        query = (
            select(*(columns[name] for name in Entry.__slots__))
            .where(columns.account == account_id)
            .order_by(columns.id.desc())
            .limit(limit)
        )
        if before is not None:
            query = query.where(columns.id < before)
        async with self._engine.connect() as connection:
            return [Entry(*row) for row in await connection.execute(query)]

    async def create_key(
        self,
        account_id: str,
        *,
        name: str,
        scope: Scope = "inference",
        expires_at: int | None = None,
        limits: KeyLimits | None = None,
    ) -> tuple[KeyRecord, NewKey]:
        """A key, whose secret exists only in this answer; raises `NotFound`, `RequestError`."""
        limits = limits or KeyLimits()
        check_limits(limits)
        await self._open(account_id)
        key = make_key(secrets.token_bytes(ENTROPY_BYTES))
        key_id = f"key_{secrets.token_hex(ID_BYTES)}"
        async with self._engine.begin() as connection:
            await connection.execute(
                insert(api_key).values(
                    id=key_id,
                    account=account_id,
                    name=name,
                    prefix=key.prefix,
                    digest=key.digest,
                    created_at=now_ms(connection),
                    expires_at=expires_at,
                    scope=scope,
                )
            )
            await put_limits(connection, key_id, limits)
            await record(
                connection,
                self._actor,
                "key.create",
                target=key_id,
                account=account_id,
                scope=scope,
                **asdict(limits),
            )
            row = (await connection.execute(_keys(api_key.c.id == key_id))).one()
        return KeyRecord(*row), key

    async def key(self, key_id: str) -> KeyRecord:
        """Raises `NotFound`."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(_keys(api_key.c.id == key_id))).first()
        if row is None:
            raise NotFound("there is no such key")
        return KeyRecord(*row)

    async def all_keys(
        self, *, account: str | None = None, after: str = "", limit: int = 100
    ) -> Sequence[KeyRecord]:
        """Keys of all accounts or one by id, a page at a time."""
        where = api_key.c.id > after
        if account is not None:
            where &= api_key.c.account == account
        query = _keys(where).order_by(api_key.c.id).limit(limit)
        async with self._engine.connect() as connection:
            return [KeyRecord(*row) for row in await connection.execute(query)]

    async def keys(self, account_id: str) -> Sequence[KeyRecord]:
        """The keys of an account, without their secrets."""
        query = _keys(api_key.c.account == account_id).order_by(api_key.c.created_at)
        async with self._engine.connect() as connection:
            return [KeyRecord(*row) for row in await connection.execute(query)]

    async def revoke_key(self, account_id: str, key_id: str) -> None:
        """End a key of the account; raises `NotFound`. Again: nothing changes."""
        mine = (api_key.c.id == key_id) & (api_key.c.account == account_id)
        async with self._engine.begin() as connection:
            if (await connection.execute(_keys(mine))).first() is None:
                raise NotFound("there is no such key")
            revoked = await connection.execute(
                update(api_key)
                .where(mine, api_key.c.revoked_at.is_(None))
                .values(revoked_at=now_ms(connection))
            )
            if revoked.rowcount:
                await record(connection, self._actor, "key.revoke", target=key_id)


def _accounts(where: ColumnElement[bool]) -> Any:
    return select(*(account.c[name] for name in Account.__slots__)).where(where)


def _keys(where: ColumnElement[bool]) -> Any:
    return select(*(api_key.c[name] for name in KeyRecord.__slots__)).where(where)


async def _insert_account(
    connection: AsyncConnection, account_id: str, kind: Kind, name: str
) -> None:
    await connection.execute(
        insert(account).values(id=account_id, kind=kind, name=name, created_at=now_ms(connection))
    )


_ENSURE_ISSUANCE = text(
    "INSERT INTO account (id, kind, name, created_at) "
    "VALUES (:id, 'issuance', 'issuance', :at) ON CONFLICT DO NOTHING"
)


async def ensure_issuance(connection: AsyncConnection) -> None:
    """The account from which all money comes is there."""
    at = (await connection.execute(select(now_ms(connection)))).scalar_one()
    await connection.execute(_ENSURE_ISSUANCE, {"id": ISSUANCE_ACCOUNT, "at": at})


async def _transfer(
    connection: AsyncConnection, account_id: str, amount: int, *, txn: str, ref: str
) -> None:
    """Both sides in ascending order of their ids, the order in which everyone locks accounts."""
    await ensure_issuance(connection)
    at = (await connection.execute(select(now_ms(connection)))).scalar_one()
    for target, delta in sorted([(ISSUANCE_ACCOUNT, -amount), (account_id, amount)]):
        fits = (account.c.posted + delta).between(-MAX_ISSUED, MAX_ISSUED)
        booked = await connection.execute(
            update(account)
            .where(account.c.id == target, fits)
            .values(posted=account.c.posted + delta)
        )
        if not booked.rowcount:
            raise RequestError("that is more money than there can be", param="amount_nano")
        await connection.execute(
            insert(ledger_entry).values(
                txn=txn,
                account=target,
                amount_nano=delta,
                kind="credit",
                ref=ref,
                at=at,
            )
        )
