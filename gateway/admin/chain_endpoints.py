"""`/admin/v1`: the gateway's wallet, withdrawals to anywhere, channels (SPEC 7.7, 7.11, 9.3)."""

from typing import Annotated

from pydantic import BaseModel, StringConstraints

from bombyx.money.channel.documents import state_of
from bombyx.money.channel.terms import network_text
from gateway.admin.router import router
from gateway.channels.treasury import Ordered
from gateway.channels.treasury_endpoints import (
    WithdrawalBody,
    WithdrawalView,
    of_chain,
    view_of,
)
from gateway.context import Context
from gateway.http import AdminDep, ContextDep

ChannelId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
OwnerId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9:_-]{1,80}$")]
"""As workers name whom they earn for."""


class TroubleView(BaseModel):
    """Something about the chain that a person must look at."""

    word: str
    subject: str
    reason: str


class ChainView(BaseModel):
    """The gateway's wallet, and what is wrong, as the process with the lowest slot knows it."""

    network: str
    address: str
    troubles: list[TroubleView]


class OrderView(ChainView):
    """What came of asking, too: a new order, one that is under way, or nothing to claim."""

    order: Ordered


class HaltedView(BaseModel):
    """How a channel stands after it halted."""

    channel: str
    state: str
    deposited_nano: str
    charged_nano: str
    claimed_nano: str


def _chain(context: Context) -> ChainView:
    treasury, watch = of_chain(context.treasury), of_chain(context.watch)
    return ChainView(
        network=network_text(treasury.network),
        address=treasury.place,
        troubles=[
            TroubleView(word=one.word, subject=one.subject, reason=one.reason)
            for one in watch.troubles()
        ],
    )


@router.post("/accounts/{account}/withdrawals")
async def withdraw_anywhere(
    account: str, body: WithdrawalBody, context: ContextDep, key: AdminDep
) -> WithdrawalView:
    """Send an account's prepaid money to any address."""
    done = await of_chain(context.treasury).withdraw(
        account, to=body.to, amount=int(body.amount_nano), txn=body.txn, actor=key.id
    )
    return view_of(done)


@router.get("/chain")
async def chain(context: ContextDep, _key: AdminDep) -> ChainView:
    """The gateway's wallet and what is wrong with the chain."""
    return _chain(context)


@router.post("/channels/{channel}/claim", status_code=202)
async def claim_channel(channel: ChannelId, context: ContextDep, key: AdminDep) -> OrderView:
    """Claim now what a channel was charged, however little that is."""
    done = await of_chain(context.watch).claim_channel(channel, actor=key.id)
    return OrderView(order=done, **dict(_chain(context)))


@router.post("/channels/{channel}/close", status_code=202)
async def close_channel(channel: ChannelId, context: ContextDep, key: AdminDep) -> OrderView:
    """End a channel with a last claim; it takes no more requests, and its client gets the rest."""
    done = await of_chain(context.watch).close_channel(channel, actor=key.id)
    return OrderView(order=done, **dict(_chain(context)))


@router.post("/channels/{channel}/resume")
async def resume_channel(channel: ChannelId, context: ContextDep, key: AdminDep) -> HaltedView:
    """Serve again after `channel_rolled_back`: what the chain paid counts as charged."""
    done = await of_chain(context.watch).resume_channel(channel, actor=key.id)
    return HaltedView(
        channel=done.id,
        state=state_of(done.row),
        deposited_nano=str(done.row.deposited),
        charged_nano=str(done.row.charged),
        claimed_nano=str(done.row.claimed),
    )


@router.post("/owners/{owner}/channel", status_code=202)
async def pay_owner(owner: OwnerId, context: ContextDep, key: AdminDep) -> ChainView:
    """Open a payout channel to an owner of workers now, however little is owed."""
    await of_chain(context.watch).pay_owner(owner, actor=key.id)
    return _chain(context)


@router.post("/chain/resume")
async def resume(context: ContextDep, key: AdminDep) -> ChainView:
    """Send on after `wallet_foreign`: a person has looked at what the wallet sent without us."""
    await of_chain(context.watch).resume(actor=key.id)
    return _chain(context)
