"""Prepaid money back to its owner: booked and ordered in one transaction, sent by the wallet.

`txn` is the asker's own: the same one is the same withdrawal. What left the ledger is sent, once;
where the wallet could not send it the order is queued again.
"""

from typing import Final

from pytoniq_core import Address
from sqlalchemy import Select, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bombyx.errors import (
    Forbidden,
    IdempotencyConflict,
    InsufficientQuota,
    NotFound,
    RequestError,
)
from gateway.accounts.audit import record
from gateway.channels.chain.outbox import SqlOutbox
from gateway.channels.ledger import ensure_account, move, writing
from gateway.channels.rows import chain_account
from gateway.channels.treasury import Withdrawal
from gateway.metering.queries import AVAILABLE
from gateway.models import account, ledger_entry
from gateway.models.accounts import MOVED
from ton.codec.cells import BASECHAIN, parse_address, raw
from ton.errors import MalformedCell
from ton.wallet.outbox import Order
from ton.wallet.outgoing import Outgoing

LEAST: Final = 100_000_000
"""Nano; the gateway bears a withdrawal's postage, some half a per cent of this."""
PREFIX: Final = "withdrawal:"
_NOBODY: Final = -1
"""A slot that no process has: every lease is another's."""

_AVAILABLE = text(AVAILABLE.replace("$1", ":account").replace("$2", ":slot"))


class Withdrawals:
    """Of one wallet; see `Treasury`."""

    def __init__(
        self, engine: AsyncEngine, outbox: SqlOutbox, *, network: int, wallet: Address
    ) -> None:
        self._engine = engine
        self._outbox = outbox
        self.network = network
        self.place = raw(wallet)

    async def withdraw(
        self, account: str, *, to: str, amount: int, txn: str, actor: str
    ) -> Withdrawal:
        """See `Treasury.withdraw`."""
        return await self._withdraw(account, _told(to, amount), txn=txn, actor=actor)

    async def withdraw_to_payer(
        self, account: str, *, to: str, amount: int, txn: str, actor: str
    ) -> Withdrawal:
        """See `Treasury.withdraw_to_payer`."""
        return await self._withdraw(account, _told(to, amount), txn=txn, actor=actor, back=True)

    async def _withdraw(
        self, account: str, told: Outgoing, *, txn: str, actor: str, back: bool = False
    ) -> Withdrawal:
        """`back`: no more than came from there."""
        order_id = _order_id(account, txn)
        async with writing(self._engine) as connection:
            await _lock(connection, account)
            # Only now: who asked the same at the same time is waited for, and seen.
            known = await self._outbox.get_in(connection, order_id)
            if known is not None:
                return _view(_same(known, told), txn)
            if back:
                await _check_paid_from(connection, account, told)
            if await _is_free(connection, account, told.value):
                return await self._book(connection, account, order_id, told, txn, actor)
            await _recall(connection, account)
        raise InsufficientQuota("the account has not so much that no request may need")

    async def withdrawal(self, account: str, txn: str) -> Withdrawal:
        """See `Treasury.withdrawal`."""
        order = await self._outbox.get(_order_id(account, txn))
        if order is None:
            raise NotFound("there is no such withdrawal")
        return _view(order, txn)

    async def _book(
        self,
        connection: AsyncConnection,
        account_id: str,
        order_id: str,
        told: Outgoing,
        txn: str,
        actor: str,
    ) -> Withdrawal:
        payee, amount, place = chain_account(self.network), told.value, raw(told.to)
        await ensure_account(connection, payee)
        if not await move(
            connection, account_id, payee, amount=amount, kind="withdrawal", txn=order_id, ref=place
        ):
            # Booked, and not in this wallet's outbox: another wallet of ours sends it, or did.
            raise _another()
        order = await self._outbox.put_in(connection, order_id, told)
        await record(
            connection, actor, "account.withdraw", target=account_id,
            amount_nano=str(amount), to=place, txn=txn,
        )  # fmt: skip
        return _view(order, txn)


async def _lock(connection: AsyncConnection, account_id: str) -> None:
    mine = (account.c.id == account_id) & account.c.kind.in_(["client", "worker"])
    locked = select(account.c.id).where(mine).with_for_update(key_share=True)
    if (await connection.execute(locked)).first() is None:
        raise NotFound("there is no such account")


async def _check_paid_from(connection: AsyncConnection, account_id: str, told: Outgoing) -> None:
    came = (await connection.execute(paid_from(account_id, raw(told.to)))).scalar_one()
    if told.value > came:
        raise Forbidden(
            "a key withdraws to an address no more than this account was paid from it: "
            "ask the gateway's operator"
        )


def paid_from(account_id: str, place: str) -> Select[int]:
    """What was deposited from an address less what was withdrawn to it; the account is locked."""
    # Word for word as its index has it: an account may have millions of other entries.
    return select(func.coalesce(func.sum(ledger_entry.c.amount_nano), 0)).where(
        ledger_entry.c.account == account_id, ledger_entry.c.ref == place, MOVED
    )


async def _is_free(connection: AsyncConnection, account_id: str, amount: int) -> bool:
    """Whether no lease and no open claim may need it; the account is locked."""
    found = await connection.execute(_AVAILABLE, {"account": account_id, "slot": _NOBODY})
    return int(found.one()[0]) >= amount


async def _recall(connection: AsyncConnection, account_id: str) -> None:
    """What processes hold of it comes back within a second: the next try may succeed."""
    await connection.execute(update(account).where(account.c.id == account_id).values(recall=True))


def _told(to: str, amount: int) -> Outgoing:
    if amount < LEAST:
        raise RequestError(f"a withdrawal is {LEAST} nano at least", param="amount_nano")
    try:
        address = parse_address(to)
    except MalformedCell:
        raise RequestError("this is no address", param="to") from None
    if address.wc != BASECHAIN:
        raise RequestError("money goes to addresses of workchain 0", param="to")
    return Outgoing(address, amount, bounce=False)


def _order_id(account_id: str, txn: str) -> str:
    return f"{PREFIX}{account_id}:{txn}"


def _same(known: Order, told: Outgoing) -> Order:
    if (known.outgoing.to, known.outgoing.value) != (told.to, told.value):
        raise _another()
    return known


def _another() -> IdempotencyConflict:
    return IdempotencyConflict("this txn is another withdrawal's")


def _view(order: Order, txn: str) -> Withdrawal:
    outgoing = order.outgoing
    return Withdrawal(
        txn, raw(outgoing.to), outgoing.value, order.state.value, order.transaction.hex()
    )
