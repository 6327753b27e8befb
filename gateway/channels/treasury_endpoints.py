"""`/v1/deposits` and `/v1/withdrawals`: prepaid money by the chain (SPEC 7.11).

A key withdraws only to where its account was paid from, so that a stolen one moves no money away;
administrators send it anywhere.
"""

from typing import Annotated, TypeVar

from fastapi import APIRouter
from pydantic import BaseModel, StringConstraints

from bombyx.errors import NotFound
from bombyx.money.channel.terms import network_text
from gateway.channels.treasury import Withdrawal
from gateway.http import ContextDep, KeyDep

router = APIRouter(prefix="/v1", tags=["deposits"])

Txn = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Part = TypeVar("Part")
NanoText = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,17}$")]


class DepositAddress(BaseModel):
    """Where a transfer becomes this account's balance; without the comment a person must look."""

    network: str
    address: str
    comment: str


class WithdrawalBody(BaseModel, extra="forbid"):
    """How much to send where; `txn` is the asker's own and makes repeating it safe."""

    to: Annotated[str, StringConstraints(min_length=1, max_length=80)]
    amount_nano: NanoText
    txn: Txn


class WithdrawalView(BaseModel):
    """A withdrawal; `transaction` is the hash of the wallet's, in hex, empty until it is sent."""

    txn: str
    to: str
    amount_nano: str
    state: str
    transaction: str


def of_chain(part: Part | None) -> Part:
    """The context's `treasury` or `watch`; raises `NotFound` without a chain."""
    if part is None:
        raise NotFound("this gateway has no chain: its accounts are credited by its operator")
    return part


def view_of(one: Withdrawal) -> WithdrawalView:
    """A withdrawal as routes show it."""
    return WithdrawalView(
        txn=one.txn,
        to=one.to,
        amount_nano=str(one.amount),
        state=one.state,
        transaction=one.transaction,
    )


@router.get("/deposits/address")
async def deposit_address(context: ContextDep, key: KeyDep) -> DepositAddress:
    """Where to send money for the caller's account, and the comment that names it."""
    treasury = of_chain(context.treasury)
    return DepositAddress(
        network=network_text(treasury.network), address=treasury.place, comment=key.account
    )


@router.post("/withdrawals")
async def withdraw(body: WithdrawalBody, context: ContextDep, key: KeyDep) -> WithdrawalView:
    """Send prepaid money back to an address that the account was paid from."""
    done = await of_chain(context.treasury).withdraw_to_payer(
        key.account, to=body.to, amount=int(body.amount_nano), txn=body.txn, actor=key.id
    )
    return view_of(done)


@router.get("/withdrawals/{txn}")
async def withdrawal(txn: Txn, context: ContextDep, key: KeyDep) -> WithdrawalView:
    """What became of one of the caller's withdrawals."""
    return view_of(await of_chain(context.treasury).withdrawal(key.account, txn))
