"""Prepaid deposits: money that comes to the gateway's wallet with an account's id as its comment.

A transaction of the wallet's own history is final and agreed on; each is booked once, by network,
account, logical time and hash. What names no account waits in the audit log for a person, as does
whatever is no message of our contracts: a comment may be encrypted, or another wallet's invention.
"""

from typing import Final

import structlog
from pytoniq_core import Address, Cell
from sqlalchemy import select, union_all
from sqlalchemy.ext.asyncio import AsyncEngine

from bombyx.units import MAX_NANO
from gateway.accounts.audit import record
from gateway.channels.chain.outbox import SqlOutbox
from gateway.channels.ledger import ensure_account, move, writing
from gateway.channels.rows import chain_account
from gateway.models import account, audit_log, channel, payout_channel
from ton.chain.port import ChainClient, Happened
from ton.codec.cells import Reader, raw
from ton.codec.messages import parse_outgoing
from ton.errors import MalformedCell
from ton.tvm.messages import Internal
from ton.wallet.comments import read_comment

READER: Final = "deposits"
NOTED: Final = 10_000_000
"""Nano; less without an account's name is dust that nobody looks for."""
MAX_NAME: Final = 128
"""Characters of a comment that are looked up, or noted; no account's id is as long."""

_log = structlog.get_logger(__name__)


class Deposits:
    """Reads the wallet's history on from where it was read."""

    def __init__(
        self, engine: AsyncEngine, chain: ChainClient, outbox: SqlOutbox, *, wallet: Address
    ) -> None:
        self._engine = engine
        self._chain = chain
        self._outbox = outbox
        self._wallet = wallet

    async def round(self) -> int:
        """Book what is new; how many. Raises as `ChainClient.transactions` does."""
        since = await self._outbox.read_until(READER)
        if since is None:
            # The wallet may be older than these books; what came to it before is no deposit here.
            state = await self._chain.account(self._wallet)
            await self._outbox.mark(READER, None, state.last)
            return 0
        booked, read = 0, since
        try:
            for one in await self._chain.transactions(self._wallet, since):
                booked += await self._take(one)
                read = one.point
        finally:
            # What comes before one that cannot be booked is not read again and again.
            if read != since:
                await self._outbox.mark(READER, since, read)
        return booked

    async def _take(self, happened: Happened) -> bool:
        message = _incoming(happened)
        if message is None or not message.value:
            return False
        memo = read_comment(message.body)
        if memo is None and _is_answer(message.body) and await self._is_channel(message.source):
            return False  # change, or a payout
        txn, name = self._txn(happened), (memo or "").strip()
        if _may_be_id(name) and await self._book(name, message, txn):
            return True
        if message.value >= NOTED:
            await self._note(message, txn, memo=memo)
        return False

    def _txn(self, happened: Happened) -> str:
        done, place = happened.transaction, raw(self._wallet)
        return f"deposit:{self._chain.network}:{place}:{done.lt}:{done.hash.hex()}"

    async def _book(self, memo: str, message: Internal, txn: str) -> bool:
        """True also where it was booked before; whom it came from may take it back."""
        amount, source = message.value, raw(message.source)
        known = select(account.c.id).where(
            account.c.id == memo, account.c.kind == "client", account.c.closed_at.is_(None)
        )
        payer = chain_account(self._chain.network)
        async with writing(self._engine) as connection:
            if amount > MAX_NANO or (await connection.execute(known)).first() is None:
                return False
            await ensure_account(connection, payer)
            if await move(
                connection, payer, memo, amount=amount, kind="deposit", txn=txn, ref=source
            ):
                await record(
                    connection, "chain", "account.deposit", target=memo,
                    amount_nano=str(amount), txn=txn,
                )  # fmt: skip
                _log.info("deposit", account=memo, amount_nano=str(amount))
        return True

    async def _is_channel(self, source: Address) -> bool:
        """Whether it is one of ours, in or out: anybody else's answer may be somebody's money."""
        name = bytes(source.hash_part).hex()
        ours = [select(one.c.id).where(one.c.id == name) for one in (channel, payout_channel)]
        async with self._engine.connect() as connection:
            return (await connection.execute(union_all(*ours))).first() is not None

    async def _note(self, message: Internal, txn: str, *, memo: str | None) -> None:
        """For a person: with the comment, or how a body begins that is none."""
        source = raw(message.source)
        known = select(audit_log.c.id).where(audit_log.c.target == txn)
        async with writing(self._engine) as connection:
            if (await connection.execute(known)).first() is not None:
                return  # before the place in the history was kept, or by another process
            await record(
                connection, "chain", "deposit.unmatched", target=txn,
                amount_nano=str(message.value), source=source,
                memo=(memo or "")[:MAX_NAME], op="" if memo is not None else _op(message.body),
            )  # fmt: skip
        _log.warning("deposit_unmatched", amount_nano=str(message.value), source=source)


def _incoming(happened: Happened) -> Internal | None:
    cell = happened.transaction.in_message
    if cell is None or not _is_kept(happened):
        return None
    try:
        message = Internal.read(cell)
    except MalformedCell:
        return None  # from outside
    return None if message.bounced else message


def _may_be_id(name: str) -> bool:
    """Whether an account may be called so; no database takes every text that strangers send."""
    return 0 < len(name) <= MAX_NAME and name.isprintable()


def _is_answer(body: Cell | None) -> bool:
    """Whether a channel answers so, to the bit; much else may be money that somebody misses."""
    if body is None:
        return False
    try:
        parse_outgoing(body)
    except MalformedCell:
        return False
    return True


def _op(body: Cell | None) -> str:
    try:
        return "" if body is None else f"{Reader(body).uint(32):08x}"
    except MalformedCell:
        return ""


def _is_kept(happened: Happened) -> bool:
    """Whether the money stayed: a wallet that cannot run its code sends it back."""
    return not happened.transaction.bounced
